#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "core/dtype.h"
#include "parallel/comm/reduce_op.h"
#include "tests/emulated_cuda/nccl_rendezvous.h"

namespace switchyard::emulated {

enum class CallKind : int32_t { all_reduce = 1, reduce_scatter, all_gather, broadcast, send, recv };

// A call of NCCL as it was made.
struct Call {
  CallKind kind = CallKind::all_reduce;
  const void* in = nullptr;
  void* out = nullptr;
  int64_t count = 0;  // as the call says it
  DType dtype = DType::f32;
  ReduceOp reduce = ReduceOp::sum;
  int peer = 0;  // of send and recv; root of broadcast
  int64_t bytes() const { return count * size_of(dtype); }
};

// Something that goes on between ranks: each advance() goes as far as it can without waiting.
class Exchange {
 public:
  virtual ~Exchange() = default;
  virtual bool advance() = 0;  // whether it has ended
};

// Sums are made in the order of ranks, 16-bit types in fp32: a GPU's rings have another order.
std::unique_ptr<Exchange> make_collective(std::shared_ptr<Rendezvous> meeting, int rank, int size,
                                          const Call& call);
// Sends and receives that start together; each pair's in their order. A send ends when all of it
// has been received, so that nothing passes here that only a buffer lets pass there.
std::unique_ptr<Exchange> make_messages(std::shared_ptr<Rendezvous> meeting, int rank,
                                        const std::vector<Call>& calls);

}  // namespace switchyard::emulated
