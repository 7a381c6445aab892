#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "core/device.h"

namespace switchyard {

// How long a rank's steps wait for exchanges: on the CPU by the clock in each Handle::wait, on a
// GPU by two events around what the stream waits for. Of the thread that made it, one at a time;
// while none is at work a wait costs one test of a pointer.
class WaitClock {
 public:
  explicit WaitClock(Device device);
  ~WaitClock();
  WaitClock(const WaitClock&) = delete;
  WaitClock& operator=(const WaitClock&) = delete;

  void begin();   // the waits of another step, from here ...
  void end();     // ... to here; on a GPU the device may be behind
  double take();  // seconds of the oldest step that has ended, whose work is done

  static WaitClock* active();  // of this thread, between begin and end; else null
  void start(Stream& stream);  // a wait begins
  void stop(Stream& stream);

 private:
  struct Step {
    double seconds = 0;
    size_t used = 0;  // of the pairs
    std::vector<std::unique_ptr<Event>> events{};
  };

  Device device_;
  std::chrono::steady_clock::time_point start_;
  std::deque<Step> steps_;  // queued and not yet taken
  std::vector<Step> free_;  // whose events are used again
};

}  // namespace switchyard
