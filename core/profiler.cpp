#include "core/profiler.h"

#include <algorithm>
#include <map>
#include <tuple>
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
    Note note;
  };
  struct Marks {
    explicit Marks(Device device) : begin(device), end(device) {}
    Mark begin, end;
  };

  double milliseconds(const Mark& from, const Mark& to) const {
    if (device == Device::cuda) return Event::milliseconds(*from.event, *to.event);
    return std::chrono::duration<double, std::milli>(to.time - from.time).count();
  }

  Device device;
  Mark end;
  std::vector<Call> calls;
  std::vector<Marks> marks;  // of the calls, and of calls to come
  int depth = 0;             // an operator that calls another is timed as one
  bool ended = false;
};

Profiler::Profiler(Device device) : state_(new State{device, Mark(device), {}, {}, 0, false}) {}

Profiler::~Profiler() {
  if (active_profiler == this) active_profiler = nullptr;
}

Profiler* Profiler::active() { return active_profiler; }

void Profiler::reserve(int64_t calls) {
  state_->calls.reserve(static_cast<size_t>(calls));
  state_->marks.reserve(static_cast<size_t>(calls));
  while (std::ssize(state_->marks) < calls) state_->marks.emplace_back(state_->device);
}

void Profiler::begin() {
  check(active_profiler == nullptr, "profiler", "another one is at work; one is allowed");
  state_->calls.clear();
  state_->depth = 0;
  state_->ended = false;
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
  if (state_->marks.size() == state_->calls.size()) state_->marks.emplace_back(state_->device);
  state_->calls.push_back({part_at_work, std::string(operation), {}});
  state_->marks[state_->calls.size() - 1].begin.record(stream);
}

void Profiler::note(Note note) {
  if (state_->depth == 1) state_->calls.back().note = std::move(note);
}

void Profiler::end_call(Stream& stream) {
  if (--state_->depth == 0) state_->marks[state_->calls.size() - 1].end.record(stream);
}

int64_t Profiler::calls() const { return std::ssize(state_->calls); }

double Profiler::milliseconds() const {
  check(state_->ended, "profiler", "nothing was timed yet");
  return state_->calls.empty() ? 0 : state_->milliseconds(state_->marks[0].begin, state_->end);
}

std::vector<Profiler::Line> Profiler::lines() const {
  check(state_->ended, "profiler", "nothing was timed yet");
  std::map<std::tuple<std::string, std::string, Note>, Line> all;
  for (size_t i = 0; i < state_->calls.size(); ++i) {
    const auto& call = state_->calls[i];
    Line& line = all[{std::string(call.part), call.operation, call.note}];
    line.part = call.part;
    line.operation = call.operation;
    line.note = call.note;
    ++line.calls;
    line.milliseconds += state_->milliseconds(state_->marks[i].begin, state_->marks[i].end);
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
