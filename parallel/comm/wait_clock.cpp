#include "parallel/comm/wait_clock.h"

#include <utility>

namespace switchyard {

namespace {

thread_local WaitClock* at_work = nullptr;

}  // namespace

WaitClock::WaitClock(Device device) : device_(device) {}

WaitClock::~WaitClock() { end(); }

WaitClock* WaitClock::active() { return at_work; }

void WaitClock::begin() {
  Step step;
  if (!free_.empty()) {
    step = std::move(free_.back());
    free_.pop_back();
  }
  step.seconds = 0;
  step.used = 0;
  steps_.push_back(std::move(step));
  at_work = this;
}

void WaitClock::end() {
  if (at_work == this) at_work = nullptr;
}

void WaitClock::start(Stream& stream) {
  Step& step = steps_.back();
  if (stream.device() == Device::cpu) {
    start_ = std::chrono::steady_clock::now();
    return;
  }
  while (step.events.size() < step.used + 2)
    step.events.push_back(std::make_unique<Event>(device_, Event::Timing::measured));
  step.events[step.used]->record(stream);
}

void WaitClock::stop(Stream& stream) {
  Step& step = steps_.back();
  if (stream.device() == Device::cpu) {
    step.seconds +=
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    return;
  }
  step.events[step.used + 1]->record(stream);
  step.used += 2;
}

double WaitClock::take() {
  if (steps_.empty()) return 0;
  Step step = std::move(steps_.front());
  steps_.pop_front();
  for (size_t i = 0; i < step.used; i += 2) {
    const Event& begin = *step.events[i];
    Event& end = *step.events[i + 1];
    if (!end.is_reached()) end.synchronize();  // of another stream than the step's own
    step.seconds += 1e-3 * Event::milliseconds(begin, end);
  }
  const double seconds = step.seconds;
  free_.push_back(std::move(step));
  return seconds;
}

}  // namespace switchyard
