#pragma once

#include <optional>

#include "core/error.h"
#include "parallel/checkpoint/checkpoint.h"

namespace switchyard {

// What a load would refuse a complete step for before it reads any tensor: a master or shard that
// is missing or cut, the name of another step, a newer format. Nothing where it would not. Opens
// all of the step's files.
std::optional<Error> problem_of_step(const CheckpointEntry& entry);

}  // namespace switchyard
