#pragma once

#include <cstdint>
#include <vector>

#include "launch/path/run_folder.h"

namespace switchyard {

// Throws Error for a saved step that has lost its moments, naming the nearest steps below and above
// that have them. One that cannot be read passes: opening it says more.
void check_resumable(const RunFolder& run, const CheckpointEntry& entry);

// The saved steps of a path that have lost their moments, as far as they can be read.
std::vector<int64_t> steps_without_moments(const RunFolder& run);

}  // namespace switchyard
