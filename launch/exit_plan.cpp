#include "launch/exit_plan.h"

#include <fmt/core.h>

#include "core/stop_signal.h"

namespace switchyard {

namespace {

const ExitPlan::Clock::time_point loaded = ExitPlan::Clock::now();

int64_t integer_or_0(const Settings& settings, const char* name) {
  return settings.has(name) ? settings.integer(name) : 0;
}

}  // namespace

ExitPlan::Clock::time_point ExitPlan::program_begin() { return loaded; }

ExitPlan::ExitPlan(const Settings& settings, bool leads, Clock::time_point begin)
    : interval_(integer_or_0(settings, "exit-interval")),
      minutes_(leads ? integer_or_0(settings, "exit-duration-in-mins") : 0),
      begin_(begin) {}

bool ExitPlan::is_due(int64_t step) const { return interval_ > 0 && step % interval_ == 0; }

bool ExitPlan::is_time_up() const {
  return minutes_ > 0 && Clock::now() - begin_ >= std::chrono::minutes(minutes_);
}

bool ExitPlan::asks() const { return StopSignal::requested() || is_time_up(); }

std::string ExitPlan::reason(int64_t step) const {
  if (!StopSignal::requested()) {
    if (is_due(step)) return fmt::format("as --exit-interval {} asks", interval_);
    if (is_time_up()) return fmt::format("as --exit-duration-in-mins {} asks", minutes_);
  }
  return "as a signal asked";
}

}  // namespace switchyard
