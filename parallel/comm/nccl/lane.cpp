#include "parallel/comm/nccl/lane.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <thread>
#include <utility>

#include "core/cuda/runtime.h"
#include "parallel/comm/exchange_wait.h"
#include "parallel/comm/nccl/api.h"

namespace switchyard {

namespace {

// The group of operations that this thread has open.
struct OpenGroup {
  int depth = 0;
  std::vector<std::pair<NcclLane*, std::shared_ptr<NcclWork>>> works;
};
thread_local OpenGroup open_group;

int64_t aligned(int64_t bytes) { return (bytes + 255) / 256 * 256; }

bool in_place(const Operation& o) { return o.in.data == o.out.data; }

bool is_capturing(const Stream& stream) {
  if (stream.device() == Device::cpu) return false;
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  cuda::check_cuda(cudaStreamIsCapturing(cuda::native(stream), &status), "nccl",
                   "cudaStreamIsCapturing");
  return status != cudaStreamCaptureStatusNone;
}

void copy_host(void* to, const void* from, int64_t bytes) {
  if (bytes > 0) std::memcpy(to, from, static_cast<size_t>(bytes));
}

}  // namespace

void NcclWork::wait(Stream& stream) {
  if (!queued)
    fail_operation(self, operation, "waited for inside its group; the group must end before");
  const bool host = operation.device() == Device::cpu;
  if (!host && stream.device() == Device::cuda) return done.wait(stream);
  done.synchronize();
  if (!host || operation.out.bytes() == 0) return;
  const auto* result = static_cast<const std::byte*>(on_host.data()) + out_offset;
  copy_host(operation.out.data, result, operation.out.bytes());
}

void NcclWork::reset() {
  process.staging.give_back(std::move(on_gpu));
  process.pinned.give_back(std::move(on_host));
  queued = false;
}

NcclLane::NcclLane(NcclProcess& process, Member self, ncclComm_t comm)
    : process_(process),
      self_(std::move(self)),
      comm_(comm),
      exceptions_(std::uncaught_exceptions()) {
  settle("is made");
  process_.watchdog->add(*this);
}

NcclLane::~NcclLane() {
  const bool orderly = std::uncaught_exceptions() == exceptions_;
  try {
    if (orderly) stream_.synchronize();  // still watched: a peer may be missed
  } catch (const std::exception&) {      // aborted below; who threw has said why
  }
  process_.watchdog->remove(*this);
  try {
    if (orderly) {
      check_nccl(ncclCommFinalize(comm_), "ncclCommFinalize");
      settle("is closed");
      ncclCommDestroy(comm_);
      return;
    }
  } catch (const std::exception&) {
  }
  ncclCommAbort(comm_);
}

ncclResult_t NcclLane::state() {
  const std::lock_guard lock(process_.calls);
  ncclResult_t state = ncclSuccess;
  check_nccl(ncclCommGetAsyncError(comm_, &state), "ncclCommGetAsyncError");
  return state;
}

void NcclLane::settle(const char* doing) {
  using namespace std::chrono_literals;
  const auto begin = Clock::now();
  for (;;) {
    const ncclResult_t now = state();
    if (now == ncclSuccess) return;
    if (now != ncclInProgress)
      fail(code_of(now), "nccl", "{}: NCCL failed while the group {}: {}", describe(self_), doing,
           nccl_error(now));
    const auto passed = Clock::now() - begin;
    check(passed < process_.timeout, ExitCode::timed_out, "nccl",
          "{}: no end after {} ms (the timeout) while the group {}; did every rank come?",
          describe(self_), process_.timeout.count(), doing);
    if (passed < 1ms)  // a thread of NCCL's that starts an operation takes less
      std::this_thread::yield();
    else
      std::this_thread::sleep_for(50us);
  }
}

ncclComm_t NcclLane::split(int color, int key, const ncclConfig_t& config) {
  stream_.synchronize();
  ncclConfig_t mine = config;
  {
    const std::lock_guard lock(process_.calls);
    check_nccl(ncclCommSplit(comm_, color < 0 ? NCCL_SPLIT_NOCOLOR : color, key, &child_, &mine),
               "ncclCommSplit");
  }
  settle("is split");
  return std::exchange(child_, nullptr);
}

std::shared_ptr<NcclWork> NcclLane::take(bool captured) {
  const std::lock_guard lock(mutex_);
  if (!captured) retire();  // a capture allows no look at events
  for (auto& work : idle_) {
    if (work.use_count() > 1) continue;  // somebody may still wait for it
    std::swap(work, idle_.back());
    auto found = std::move(idle_.back());
    idle_.pop_back();
    found->reset();
    return found;
  }
  return std::make_shared<NcclWork>(process_);
}

void NcclLane::retire() {
  while (!outstanding_.empty() && outstanding_.front()->done.is_reached()) {
    idle_.push_back(std::move(outstanding_.front()));
    outstanding_.pop_front();
    open_wait_.reset();
    head_since_ = {};
  }
}

Handle NcclLane::start(const Operation& operation, Stream& caller) {
  select_gpu(process_.gpu);  // of this thread, which may not be the one that began
  const bool captured = is_capturing(caller);
  auto work = take(captured);
  work->self = self_;
  work->captured = captured;
  work->operation = operation;
  const void* in = operation.in.data;
  void* out = operation.out.data;
  if (operation.device() == Device::cuda) {
    work->ready.record(caller);
    work->ready.wait(stream_);
  } else {
    work->ready.record(stream_);
    stage(*work, in, out);
  }
  {
    const std::lock_guard lock(process_.calls);
    call(operation, in, out);
  }
  if (open_group.depth > 0)
    open_group.works.emplace_back(this, work);
  else
    finish(work);
  return Handle(std::move(work));
}

// A host buffer's input goes to pinned memory now and from there, in the stream's order, to the
// GPU.
void NcclLane::stage(NcclWork& work, const void*& in, void*& out) {
  const Operation& o = work.operation;
  const bool barrier = o.kind == OperationKind::barrier;
  const int64_t in_bytes = barrier ? int64_t{sizeof(int32_t)} : o.in.bytes();
  work.out_offset = barrier || in_place(o) ? 0 : aligned(in_bytes);
  const int64_t bytes = work.out_offset + std::max(in_bytes, o.out.bytes());
  if (bytes == 0) return;
  work.on_gpu = process_.staging.take(bytes);
  work.on_host = process_.pinned.take(bytes);
  if (!barrier) copy_host(work.on_host.data(), o.in.data, in_bytes);
  copy_bytes(work.on_gpu.data(), work.on_host.data(), in_bytes, stream_);
  in = work.on_gpu.data();
  out = static_cast<std::byte*>(work.on_gpu.data()) + work.out_offset;
}

void NcclLane::finish(const std::shared_ptr<NcclWork>& work) {
  settle("starts an operation");
  const int64_t out_bytes = work->operation.out.bytes();
  if (work->on_gpu.data() != nullptr && out_bytes > 0)
    copy_bytes(static_cast<std::byte*>(work->on_host.data()) + work->out_offset,
               static_cast<std::byte*>(work->on_gpu.data()) + work->out_offset, out_bytes, stream_);
  work->done.record(stream_);
  work->queued = true;
  const std::lock_guard lock(mutex_);
  if (work->captured)
    idle_.push_back(work);  // the graph's launch is watched as a whole, by who launches it
  else
    outstanding_.push_back(work);
}

// What only moves is moved as bytes.
void NcclLane::call(const Operation& o, const void* in, void* out) {
  const cudaStream_t stream = static_cast<cudaStream_t>(stream_.native());
  const auto in_bytes = static_cast<size_t>(o.in.bytes());
  const auto out_bytes = static_cast<size_t>(o.out.bytes());
  if (in_bytes == 0 && out_bytes == 0 && o.kind != OperationKind::barrier) return;
  switch (o.kind) {
    case OperationKind::all_reduce:
      return check_nccl(ncclAllReduce(in, out, static_cast<size_t>(o.in.count), native(o.in.dtype),
                                      native(o.reduce), comm_, stream),
                        "ncclAllReduce");
    case OperationKind::reduce_scatter:
      return check_nccl(ncclReduceScatter(in, out, static_cast<size_t>(o.out.count),
                                          native(o.in.dtype), native(o.reduce), comm_, stream),
                        "ncclReduceScatter");
    case OperationKind::all_gather:
      return check_nccl(ncclAllGather(in, out, in_bytes, ncclUint8, comm_, stream),
                        "ncclAllGather");
    case OperationKind::all_to_all:
      return exchange_parts(o, in, out);
    case OperationKind::broadcast:
      return check_nccl(ncclBroadcast(in, out, in_bytes, ncclUint8, o.peer, comm_, stream),
                        "ncclBroadcast");
    case OperationKind::send:
      return check_nccl(ncclSend(in, in_bytes, ncclUint8, o.peer, comm_, stream), "ncclSend");
    case OperationKind::recv:
      return check_nccl(ncclRecv(out, out_bytes, ncclUint8, o.peer, comm_, stream), "ncclRecv");
    case OperationKind::barrier:
      return check_nccl(ncclAllReduce(in, out, 1, ncclInt32, ncclSum, comm_, stream),
                        "ncclAllReduce");
    case OperationKind::split:
      break;
  }
  fail_operation(self_, o, "is no operation of NCCL's");
}

void NcclLane::exchange_parts(const Operation& o, const void* in, void* out) {
  const cudaStream_t stream = static_cast<cudaStream_t>(stream_.native());
  const size_t bytes = static_cast<size_t>(o.in.bytes()) / static_cast<size_t>(self_.size);
  check_nccl(ncclGroupStart(), "ncclGroupStart");
  for (int peer = 0; peer < self_.size; ++peer) {
    const size_t at = static_cast<size_t>(peer) * bytes;
    check_nccl(
        ncclSend(static_cast<const std::byte*>(in) + at, bytes, ncclUint8, peer, comm_, stream),
        "ncclSend");
    check_nccl(ncclRecv(static_cast<std::byte*>(out) + at, bytes, ncclUint8, peer, comm_, stream),
               "ncclRecv");
  }
  check_nccl(ncclGroupEnd(), "ncclGroupEnd");
}

// Which of them are missing NCCL does not say.
std::vector<int> NcclLane::partners_of(const Operation& operation) const {
  if (is_point_to_point(operation.kind)) return world_ranks_of(self_, {operation.peer});
  std::vector<int> others;
  for (int rank = 0; rank < self_.size; ++rank)
    if (rank != self_.rank) others.push_back(rank);
  return world_ranks_of(self_, others);
}

Watched::Fault NcclLane::find_fault() {
  const std::lock_guard lock(mutex_);
  retire();
  // A call under way is looked at next time; it must not keep the watchdog from its other lanes.
  ncclResult_t state = ncclSuccess;
  if (const std::unique_lock calls(process_.calls, std::try_to_lock); calls)
    ncclCommGetAsyncError(comm_, &state);
  const auto named = [&](const std::string& why) {
    if (outstanding_.empty()) return fmt::format("{}: {}", describe(self_), why);
    const auto& head = outstanding_.front()->operation;
    return fmt::format("{}: {}: {}", describe(self_), describe(head), why);
  };
  if (is_failure(state)) return {named(fmt::format("NCCL reports: {}", nccl_error(state)))};
  if (outstanding_.empty() || !outstanding_.front()->ready.is_reached()) return {};
  // Its time begins when nothing before it is left to do, however far ahead the host runs.
  if (head_since_ == Clock::time_point{}) head_since_ = Clock::now();
  const auto passed = Clock::now() - head_since_;
  if (passed < std::min<Clock::duration>(process_.timeout / 4, std::chrono::seconds(1))) return {};
  const Operation& head = outstanding_.front()->operation;
  const auto partners = partners_of(head);
  if (!open_wait_)
    open_wait_.emplace(fmt::format("{}: {}", describe(self_), describe(head)), partners);
  if (const auto loss = lost_peers_.look(partners)) return {named(loss->text())};
  if (passed < process_.timeout) return {};
  const auto overdue =
      describe_overdue(self_.world_rank, process_.timeout, partners, "it is shared with");
  return {named(overdue.text), overdue.code};
}

void begin_nccl_group() {
  check_nccl(ncclGroupStart(), "ncclGroupStart");
  ++open_group.depth;
}

void end_nccl_group() {
  check(open_group.depth > 0, "nccl", "a group of operations ends that was not begun");
  if (--open_group.depth > 0) return check_nccl(ncclGroupEnd(), "ncclGroupEnd");
  const auto works = std::exchange(open_group.works, {});
  {
    std::unique_lock<std::mutex> lock;
    if (!works.empty()) lock = std::unique_lock(works[0].first->process().calls);
    check_nccl(ncclGroupEnd(), "ncclGroupEnd");
  }
  for (const auto& [lane, work] : works) lane->finish(work);
}

}  // namespace switchyard
