#pragma once

#include <cstdint>
#include <string>

#include "launch/path/options.h"
#include "launch/path/specification.h"

namespace switchyard {

// The step to stop at: --train-iters, or the end of a decay; 0: none, as of a main path.
int64_t last_step(const PathSpecification& path, const Settings& settings);
// Why nothing is left to do behind `step`, for a log; empty: something is.
std::string describe_reached(const PathSpecification& path, const Settings& settings, int64_t step);

// Whether a validation is due behind `step`, up to the last one.
bool validates_behind(const PathSpecification& path, const Settings& settings, int64_t step);
}  // namespace switchyard
