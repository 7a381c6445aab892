#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/device.h"

namespace switchyard {

// Times every operator of a stretch of work, by events on its stream (on the CPU by the clock).
// While none exists an operator costs one test of a pointer. One at a time, for the thread that
// made it.
class Profiler {
 public:
  // What an operator says of its call: whose kernels computed it, and, where calls differ, what.
  struct Note {
    std::string backend;    // "cuDNN", "cuBLASLt"; empty: the device's own kernels
    std::string detail;     // of a matrix product: pass, shape, fusion, what is done behind it
    double operations = 0;  // of one call; 0: not told
    auto operator<=>(const Note&) const = default;  // NOLINT(modernize-use-nullptr)
  };
  // Calls that have all but their times in common.
  struct Line {
    std::string part;  // of the model, as ProfiledPart named it; empty outside of any
    std::string operation;
    Note note;
    int64_t calls = 0;
    double milliseconds = 0;

    double operations_per_second() const {
      return 1e3 * note.operations * static_cast<double>(calls) / milliseconds;
    }
  };

  explicit Profiler(Device device);
  ~Profiler();
  Profiler(const Profiler&) = delete;
  Profiler& operator=(const Profiler&) = delete;

  void reserve(int64_t calls);      // makes the events of so many, so that the stretch makes none
  void begin();                     // forgets what was timed before; starts with the first operator
  void end(Stream& stream);         // the stretch ends; waits for the device
  double milliseconds() const;      // of the whole stretch
  std::vector<Line> lines() const;  // longest first; what they leave of the whole are gaps
  int64_t calls() const;

  static Profiler* active();  // of this thread, between begin and end; else null
  void start_call(std::string_view operation, Stream& stream);
  void note(Note note);  // of the call at work
  void end_call(Stream& stream);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Times one call while a profiler is active.
class ProfiledCall {
 public:
  ProfiledCall(std::string_view operation, Stream& stream) : stream_(stream) {
    if (auto* profiler = Profiler::active()) profiler->start_call(operation, stream);
  }
  ~ProfiledCall() {
    if (auto* profiler = Profiler::active()) profiler->end_call(stream_);
  }
  ProfiledCall(const ProfiledCall&) = delete;
  ProfiledCall& operator=(const ProfiledCall&) = delete;

 private:
  Stream& stream_;
};

// Names the part of the model that this thread's operators belong to, until the scope ends.
class ProfiledPart {
 public:
  explicit ProfiledPart(std::string_view part);  // a literal
  ~ProfiledPart();
  ProfiledPart(const ProfiledPart&) = delete;
  ProfiledPart& operator=(const ProfiledPart&) = delete;

 private:
  std::string_view before_;
};

}  // namespace switchyard
