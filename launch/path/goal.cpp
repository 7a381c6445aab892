#include "launch/path/goal.h"

#include <fmt/core.h>

namespace switchyard {

int64_t last_step(const PathSpecification& path, const Settings& settings) {
  return settings.has("train-iters") ? settings.integer("train-iters") : path.decay_end();
}

std::string describe_reached(const PathSpecification& path, const Settings& settings,
                             int64_t step) {
  const int64_t last = last_step(path, settings);
  if (last == 0 || step < last) return "";
  const bool goes_on = last == path.decay_end() && path.learns_behind_end();
  return fmt::format(
      "step {} of {} is reached; nothing is left to do{}", step, last,
      goes_on ? fmt::format(" (--train-iters goes on at the rate {:.6g})", path.schedule.minimum)
              : "");
}

bool validates_behind(const PathSpecification& path, const Settings& settings, int64_t step) {
  const int64_t every = settings.integer("eval-interval"), last = last_step(path, settings);
  return every > 0 && (last == 0 || step / every < last / every);
}

}  // namespace switchyard
