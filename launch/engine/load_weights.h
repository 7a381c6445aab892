#pragma once

#include <span>
#include <string_view>

#include "core/device.h"
#include "parallel/checkpoint/checkpoint.h"
#include "parallel/checkpoint/state_groups.h"
#include "parallel/parameter.h"

namespace switchyard {

// Weights alone, from any group that has them all and any precision, into parameters that are bound
// to memory. They are there when the call returns; `stream` is of their device. Throws Error for a
// tensor that the checkpoint lacks or has in another shape.
void load_weights(std::span<const Parameter> parameters, const CheckpointReader& reader,
                  Stream& stream, std::string_view group = groups::model);

}  // namespace switchyard
