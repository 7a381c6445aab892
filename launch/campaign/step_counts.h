#pragma once

#include <cstdint>
#include <filesystem>

#include "launch/campaign/desired.h"

namespace switchyard {

// Optimizer steps that were executed, as the paths' metrics count them.
struct StepCounts {
  int64_t counted = 0;   // lines of metrics.jsonl
  int64_t redone = 0;    // of metrics.discarded.jsonl: lost to a kill, or given up
  int64_t replayed = 0;  // made again on the way to a fork point that was not saved
};

// Those of a path's own steps up to `until`. No path: none. Throws Error where it cannot be read.
StepCounts count_steps(const std::filesystem::path& run, int64_t until);
StepCounts count_steps(const Campaign& campaign, const DesiredVersion& version);

}  // namespace switchyard
