#pragma once

#include <string>

#include "parallel/checkpoint/state_groups.h"

namespace switchyard {

// Throws Error unless --weights names a group that holds each of the model's weights. Reader: null
// for a random start, which has the model's own alone.
void check_weights_option(const CheckpointReader* reader, const std::string& group);

}  // namespace switchyard
