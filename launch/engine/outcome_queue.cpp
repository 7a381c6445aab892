#include "launch/engine/outcome_queue.h"

#include "core/error.h"
#include "core/timed_wait.h"

namespace switchyard {

OutcomeQueue::OutcomeQueue(Device device, std::chrono::milliseconds limit)
    : limit_(limit), arrived_{Event(device), Event(device)} {
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

void OutcomeQueue::wait_for_oldest() {
  Event& arrived = arrived_[static_cast<size_t>(read_ % capacity)];
  if (limit_.count() == 0) return arrived.synchronize();
  if (wait_at_most(arrived, limit_)) return;
  throw OverdueStep(fmt::format("[train] step {} did not end within {} ms, the time that "
                                "--distributed-timeout-minutes gives",
                                slot(read_).step, limit_.count()),
                    ExitCode::timed_out);
}

OutcomeQueue::Entry OutcomeQueue::pop() {
  check(size() > 0, "outcomes", "an outcome was asked for and none is queued");
  wait_for_oldest();
  const Slot& oldest = slot(read_);
  ++read_;
  return {oldest.step, DistributedOptimizer::outcome_of(oldest.numbers.span<double>())};
}

}  // namespace switchyard
