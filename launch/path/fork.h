#pragma once

#include <string>

#include "launch/path/options.h"

namespace switchyard {

// Makes the path `child` that continues from PARENT@STEP with the options given, and pins the fork
// point; PARENT@0 is its random start, of which nothing need be saved. Loads nothing: training it
// does. Throws Error for a step that is not saved (naming the nearest), a child that exists, or
// options that change the parent's tensors.
void fork(const std::string& parent_at_step, const std::string& child, const Settings& given);

// Appends a data stage to a path's future: samples behind step `step` come from it. Throws Error
// for a step before the last saved one, or while a trainer holds the path.
void extend(const std::string& run, int64_t step, const Settings& given);

}  // namespace switchyard
