#include "launch/outcome_queue.h"

#include "core/error.h"

namespace switchyard {

OutcomeQueue::OutcomeQueue(Device device)
    : device_(device), arrived_{Event(device), Event(device)} {
  constexpr int64_t room = 256;
  for (Slot& each : slots_) {
    each.memory = device == Device::cpu ? Arena("outcome of a step", room)
                                        : Arena::pinned("outcome of a step", room);
  }
}

void OutcomeQueue::push(int64_t step, const Tensor& outcome, Stream& stream) {
  check(size() < capacity, "outcomes", "step {} with {} steps unread; at most {} are allowed", step,
        size(), capacity);
  Slot& mine = slot(pushed_);
  mine.step = step;
  mine.memory.clear();
  mine.numbers = mine.memory.allocate(outcome.shape, outcome.dtype, "outcome");
  copy_bytes(mine.numbers.data, outcome.data, outcome.bytes(), stream);
  arrived_[static_cast<size_t>(pushed_ % capacity)].record(stream);
  ++pushed_;
}

OutcomeQueue::Entry OutcomeQueue::pop() {
  check(size() > 0, "outcomes", "an outcome was asked for and none is queued");
  arrived_[static_cast<size_t>(read_ % capacity)].synchronize();
  const Slot& oldest = slot(read_);
  ++read_;
  return {oldest.step, DistributedOptimizer::outcome_of(oldest.numbers.span<double>())};
}

}  // namespace switchyard
