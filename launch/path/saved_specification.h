#pragma once

#include <string>

#include "launch/path/specification.h"
#include "parallel/checkpoint/checkpoint.h"

namespace switchyard {

// Throws Error (storage) where a saved step says that it is of another path than `path`, the
// path.json beside it: another run's step, or a path.json that was edited. Both values are named.
// What may differ: the places of data and of parents, what is read behind the step, and options
// that only one of them knows, as another version wrote it. `step` begins the message.
void check_saved_specification(const PathSpecification& path, const CheckpointInfo& info,
                               const std::string& step);

}  // namespace switchyard
