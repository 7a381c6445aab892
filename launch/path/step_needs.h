#pragma once

#include <span>
#include <vector>

#include "launch/path/pins.h"
#include "launch/path/retention_plan.h"

namespace switchyard {

// What retention must leave of a path's saved steps beside the newest ones: all that needs one has
// its line here. `pins` are the run's, read while they are locked where it matters.
std::vector<StepNeed> step_needs(std::span<const Pin> pins);

}  // namespace switchyard
