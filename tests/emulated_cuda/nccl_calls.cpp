#include <sched.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "tests/emulated_cuda/nccl_comm.h"
#include "tests/emulated_cuda/nccl_exchange.h"
#include "tests/emulated_cuda/polled_work.h"

// Operations on communicators, alone and in groups.
namespace sw = switchyard;
using sw::emulated::begin;
using sw::emulated::Call;
using sw::emulated::CallKind;
using sw::emulated::Exchange;
using sw::emulated::Occupied;

namespace {

struct Queued {
  ncclComm* comm;
  cudaStream_t stream;
  Call call;
};

struct Group {
  int depth = 0;
  std::vector<Queued> calls;
};

thread_local Group group;

bool is_message(const Call& call) {
  return call.kind == CallKind::send || call.kind == CallKind::recv;
}

using MakeExchange = std::function<std::unique_ptr<Exchange>()>;

// Queues an exchange, made when its turn comes, every time where a graph repeats it. A poll tries
// for a moment, since the peers' turns are short.
void enqueue(ncclComm* comm, cudaStream_t stream, const MakeExchange& make) {
  constexpr int tries = 50;
  sw::emulated::enqueue_polled(stream, [comm, make, now = std::shared_ptr<Exchange>()]() mutable {
    if (now == nullptr) now = make();
    bool over = false;
    for (int i = 0; i < tries && !over; ++i) {
      over = comm->aborted || now->advance();
      if (!over) sched_yield();
    }
    if (over) now = nullptr;
    return over;
  });
}

void launch(ncclComm* comm, const std::vector<Queued>& calls) {
  std::vector<Call> messages;
  for (const Queued& queued : calls) {
    if (is_message(queued.call)) {
      messages.push_back(queued.call);
      continue;
    }
    enqueue(comm, queued.stream, [comm, one = queued.call] {
      return make_collective(comm->meeting, comm->rank, comm->size, one);
    });
  }
  if (messages.empty()) return;
  enqueue(comm, calls[0].stream,
          [comm, messages] { return make_messages(comm->meeting, comm->rank, messages); });
}

ncclResult_t submit(ncclComm* comm, const std::vector<Queued>& calls) {
  return begin(*comm, [comm, calls] {
    launch(comm, calls);
    return true;
  });
}

ncclResult_t call(ncclComm* comm, cudaStream_t stream, const Call& wanted) {
  const Occupied occupied(*comm, "an operation");
  const bool peer = wanted.peer >= 0 && wanted.peer < comm->size;
  if (wanted.count < 0 || !peer) return ncclInvalidArgument;
  if (wanted.count > 0 && (wanted.in == nullptr && wanted.out == nullptr))
    return ncclInvalidArgument;
  if (group.depth > 0) {
    group.calls.push_back({comm, stream, wanted});
    return ncclSuccess;
  }
  return submit(comm, {{comm, stream, wanted}});
}

sw::DType dtype_of(ncclDataType_t type) {
  switch (type) {
    case ncclFloat32:
      return sw::DType::f32;
    case ncclBfloat16:
      return sw::DType::bf16;
    case ncclFloat16:
      return sw::DType::f16;
    case ncclFloat64:
      return sw::DType::f64;
    case ncclInt32:
      return sw::DType::i32;
    case ncclInt64:
      return sw::DType::i64;
    default:
      return sw::DType::u8;
  }
}

sw::ReduceOp op_of(ncclRedOp_t op) { return op == ncclMax ? sw::ReduceOp::max : sw::ReduceOp::sum; }

}  // namespace

ncclResult_t ncclGroupStart() {
  ++group.depth;
  return ncclSuccess;
}

ncclResult_t ncclGroupEnd() {
  if (group.depth == 0) return ncclInvalidUsage;
  if (--group.depth > 0) return ncclSuccess;
  auto calls = std::exchange(group.calls, {});
  ncclResult_t result = ncclSuccess;
  while (!calls.empty()) {
    ncclComm* comm = calls.front().comm;
    const auto of_others =
        std::stable_partition(calls.begin(), calls.end(), [&](auto& q) { return q.comm == comm; });
    const Occupied occupied(*comm, "ncclGroupEnd");
    const ncclResult_t one = submit(comm, {calls.begin(), of_others});
    if (one != ncclSuccess) result = one;
    calls.erase(calls.begin(), of_others);
  }
  return result;
}

ncclResult_t ncclAllReduce(const void* in, void* out, size_t count, ncclDataType_t type,
                           ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream) {
  return call(comm, stream,
              {.kind = CallKind::all_reduce,
               .in = in,
               .out = out,
               .count = static_cast<int64_t>(count),
               .dtype = dtype_of(type),
               .reduce = op_of(op)});
}

ncclResult_t ncclReduceScatter(const void* in, void* out, size_t count, ncclDataType_t type,
                               ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream) {
  return call(comm, stream,
              {.kind = CallKind::reduce_scatter,
               .in = in,
               .out = out,
               .count = static_cast<int64_t>(count),
               .dtype = dtype_of(type),
               .reduce = op_of(op)});
}

ncclResult_t ncclAllGather(const void* in, void* out, size_t count, ncclDataType_t type,
                           ncclComm_t comm, cudaStream_t stream) {
  return call(comm, stream,
              {.kind = CallKind::all_gather,
               .in = in,
               .out = out,
               .count = static_cast<int64_t>(count),
               .dtype = dtype_of(type)});
}

ncclResult_t ncclBroadcast(const void* in, void* out, size_t count, ncclDataType_t type, int root,
                           ncclComm_t comm, cudaStream_t stream) {
  return call(comm, stream,
              {.kind = CallKind::broadcast,
               .in = in,
               .out = out,
               .count = static_cast<int64_t>(count),
               .dtype = dtype_of(type),
               .peer = root});
}

ncclResult_t ncclSend(const void* in, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
  return call(comm, stream,
              {.kind = CallKind::send,
               .in = in,
               .count = static_cast<int64_t>(count),
               .dtype = dtype_of(type),
               .peer = peer});
}

ncclResult_t ncclRecv(void* out, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
  return call(comm, stream,
              {.kind = CallKind::recv,
               .out = out,
               .count = static_cast<int64_t>(count),
               .dtype = dtype_of(type),
               .peer = peer});
}
