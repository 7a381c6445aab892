#pragma once

#include <chrono>

namespace switchyard {

// The signals that a launcher is asked by. The first asks to save and stop. Of those behind it an
// interrupt is always another request, a USR1, TERM or HUP only 2 seconds behind the last one, as
// ranks have it (core/stop_signal.h): Slurm, a batch script and a launcher may each pass one on.
class StopRequests {
 public:
  using Clock = std::chrono::steady_clock;

  // Whether it is a request of its own.
  bool take(int number, Clock::time_point now = Clock::now());
  int count() const { return count_; }
  int first() const { return first_; }  // signal's number; 0: none has come

 private:
  int count_ = 0;
  int first_ = 0;
  Clock::time_point last_{};
};

// For the log: what a second request does.
void mention_second(int number);

}  // namespace switchyard
