#include "parallel/comm/exchange_waits.h"

#include <utility>

namespace switchyard {

namespace {

thread_local ExchangeWaits* at_work = nullptr;

}  // namespace

ExchangeWaits::ExchangeWaits(Device device) : device_(device) {}

ExchangeWaits::~ExchangeWaits() { end(); }

ExchangeWaits* ExchangeWaits::active() { return at_work; }

void ExchangeWaits::begin() {
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

void ExchangeWaits::end() {
  if (at_work == this) at_work = nullptr;
}

void ExchangeWaits::start(Stream& stream) {
  Step& step = steps_.back();
  if (stream.device() == Device::cpu) {
    start_ = std::chrono::steady_clock::now();
    return;
  }
  while (step.events.size() < step.used + 2)
    step.events.push_back(std::make_unique<Event>(device_, Event::Timing::measured));
  step.events[step.used]->record(stream);
}

void ExchangeWaits::stop(Stream& stream) {
  Step& step = steps_.back();
  if (stream.device() == Device::cpu) {
    step.seconds +=
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    return;
  }
  step.events[step.used + 1]->record(stream);
  step.used += 2;
}

double ExchangeWaits::take() {
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
