#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "parallel/comm/operation.h"

namespace switchyard {

// One operation of a backend that moves messages between pairs of ranks: messages posted at first,
// then steps that post more of them or compute, each begun when all messages before have arrived
// and gone.
class MessageTask {
 public:
  virtual ~MessageTask() = default;
  virtual void then(std::function<void()> step) = 0;
  // Between two ranks of a group, messages of one tag match in order. `peer` is a rank of the
  // group.
  virtual void send(const void* data, int64_t bytes, int peer, int tag) = 0;
  virtual void recv(void* data, int64_t bytes, int peer, int tag) = 0;
  virtual std::byte* scratch(int64_t bytes) = 0;  // once a task; kept until it ends
};

// Fills `task` with the part that `self` has in an operation: a direct exchange of messages between
// all pairs of ranks, one round where trees take log2(n), and sums in the order of ranks, the same
// bits in every backend. `number` counts the collectives of a group, so that several may be under
// way at once, with tags of their own.
void plan_exchange(const Operation& operation, const Member& self, uint64_t number,
                   MessageTask& task);

}  // namespace switchyard
