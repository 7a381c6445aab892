#pragma once

#include <array>
#include <cstdint>

#include "core/memory.h"
#include "optim/distributed_optimizer.h"

namespace switchyard {

// The outcomes of queued steps, copied to the host behind each step's work and read later, oldest
// first: so the host learns of a step while the device is at the next.
class OutcomeQueue {
 public:
  static constexpr int64_t capacity = 2;
  explicit OutcomeQueue(Device device);

  // Queues the copy of an optimizer's outcome. Throws Error for more than `capacity` unread ones.
  void push(int64_t step, const Tensor& outcome, Stream& stream);
  int64_t size() const { return pushed_ - read_; }
  // Waits for the oldest.
  struct Entry {
    int64_t step = 0;
    DistributedOptimizer::Outcome outcome;
  };
  Entry pop();

 private:
  struct Slot {
    Arena memory;
    Tensor numbers;
    int64_t step = 0;
  };
  Slot& slot(int64_t number) { return slots_[static_cast<size_t>(number % capacity)]; }

  Device device_;
  std::array<Slot, capacity> slots_;
  std::array<Event, capacity> arrived_;
  int64_t pushed_ = 0;
  int64_t read_ = 0;
};

}  // namespace switchyard
