#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "launch/path/options.h"

namespace switchyard {

// When a start saves and ends before its goal: a signal, --exit-interval, --exit-duration-in-mins.
class ExitPlan {
 public:
  using Clock = std::chrono::steady_clock;
  // leads: this is rank 0, whose clock decides for all. begin: that minutes count from.
  ExitPlan(const Settings& settings, bool leads, Clock::time_point begin = program_begin());
  static Clock::time_point program_begin();

  bool is_due(int64_t step) const;  // behind this step, on every rank
  // Whether this rank asks all to stop; they hear of it with the sums of a step.
  bool asks() const;
  // Of rank 0, for the log: "as a signal asked".
  std::string reason(int64_t step) const;

 private:
  bool is_time_up() const;

  int64_t interval_ = 0;  // steps; 0: none
  int64_t minutes_ = 0;   // 0: no limit, or not this rank's affair
  Clock::time_point begin_;
};

}  // namespace switchyard
