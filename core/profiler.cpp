#include "core/profiler.h"

#include <algorithm>
#include <map>
#include <utility>

#include "core/error.h"

namespace switchyard {

namespace {

using Clock = std::chrono::steady_clock;

thread_local Profiler* active_profiler = nullptr;
thread_local std::string_view part_at_work;

// A point in time of the host or of a stream.
struct Mark {
  explicit Mark(Device device) : event(std::make_unique<Event>(device, Event::Timing::measured)) {}
  void record(Stream& stream) {
    event->record(stream);
    time = Clock::now();
  }
  std::unique_ptr<Event> event;
  Clock::time_point time;
};

}  // namespace

struct Profiler::State {
  struct Call {
    std::string_view part;
    std::string operation;
    Mark begin, end;
  };

  double milliseconds(const Mark& from, const Mark& to) const {
    if (device == Device::cuda) return Event::milliseconds(*from.event, *to.event);
    return std::chrono::duration<double, std::milli>(to.time - from.time).count();
  }

  Device device;
  Mark begin, end;
  std::vector<Call> calls;
  int depth = 0;  // an operator that calls another is timed as one
  bool ended = false;
};

Profiler::Profiler(Device device)
    : state_(new State{device, Mark(device), Mark(device), {}, 0, false}) {}

Profiler::~Profiler() {
  if (active_profiler == this) active_profiler = nullptr;
}

Profiler* Profiler::active() { return active_profiler; }

void Profiler::begin(Stream& stream) {
  check(active_profiler == nullptr, "profiler", "another one is at work; one is allowed");
  state_->calls.clear();
  state_->depth = 0;
  state_->ended = false;
  state_->begin.record(stream);
  active_profiler = this;
}

void Profiler::end(Stream& stream) {
  check(active_profiler == this, "profiler", "end without begin");
  active_profiler = nullptr;
  if (state_->device == Device::cpu) stream.synchronize();
  state_->end.record(stream);
  state_->end.event->synchronize();
  state_->ended = true;
}

void Profiler::start_call(std::string_view operation, Stream& stream) {
  if (state_->depth++ > 0) return;
  state_->calls.push_back(
      {part_at_work, std::string(operation), Mark(state_->device), Mark(state_->device)});
  state_->calls.back().begin.record(stream);
}

void Profiler::end_call(Stream& stream) {
  if (--state_->depth == 0) state_->calls.back().end.record(stream);
}

double Profiler::milliseconds() const {
  check(state_->ended, "profiler", "nothing was timed yet");
  return state_->milliseconds(state_->begin, state_->end);
}

std::vector<Profiler::Line> Profiler::lines() const {
  check(state_->ended, "profiler", "nothing was timed yet");
  std::map<std::pair<std::string, std::string>, Line> all;
  for (const auto& call : state_->calls) {
    Line& line = all[{std::string(call.part), call.operation}];
    line.part = call.part;
    line.operation = call.operation;
    ++line.calls;
    line.milliseconds += state_->milliseconds(call.begin, call.end);
  }
  std::vector<Line> lines;
  lines.reserve(all.size());
  for (auto& [key, line] : all) lines.push_back(std::move(line));
  std::ranges::sort(lines, std::ranges::greater(), &Line::milliseconds);
  return lines;
}

ProfiledPart::ProfiledPart(std::string_view part) : before_(std::exchange(part_at_work, part)) {}

ProfiledPart::~ProfiledPart() { part_at_work = before_; }

}  // namespace switchyard
