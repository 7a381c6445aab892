#pragma once

#include <array>
#include <chrono>
#include <cstdint>

#include "core/error.h"
#include "core/memory.h"
#include "optim/distributed_optimizer.h"

namespace switchyard {

// A step that did not end in time. The device may never answer again, and then neither does
// anything that waits for it, such as freeing its memory: the process had better end at once.
class OverdueStep : public Error {
 public:
  using Error::Error;
};

// The outcomes of queued steps, copied to the host behind each step's work and read later, oldest
// first: so the host learns of a step while the device is at the next.
class OutcomeQueue {
 public:
  static constexpr int64_t capacity = 2;
  // A wait that is longer than `limit` is an error; 0: it may last for ever.
  explicit OutcomeQueue(Device device, std::chrono::milliseconds limit = {});

  // Queues the copy of an optimizer's outcome. Throws Error for more than `capacity` unread ones.
  void push(int64_t step, const Tensor& outcome, Stream& stream);
  int64_t size() const { return pushed_ - read_; }
  // Waits for the oldest. Throws OverdueStep naming the step.
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

  void wait_for_oldest();

  std::chrono::milliseconds limit_;
  std::array<Slot, capacity> slots_;
  std::array<Event, capacity> arrived_;
  int64_t pushed_ = 0;
  int64_t read_ = 0;
};

}  // namespace switchyard
