#pragma once

#include <optional>
#include <vector>

#include "launch/exchange/rounding.h"
#include "launch/reshard/step_source.h"
#include "parallel/checkpoint/checkpoint_copy.h"

namespace switchyard {

// All tensors of a step in the order of its files, and behind them the members of averages that
// lie in other checkpoints. They refer to the source.
std::vector<CopiedTensor> all_tensors(const StepSource& source);

// The model's weights alone: of each the fp32 master copy where there is one. A dtype converts
// them, which `loss` counts.
std::vector<CopiedTensor> weights_alone(const StepSource& source, std::optional<DType> dtype,
                                        RoundingLoss& loss);

int64_t bytes_of(const std::vector<CopiedTensor>& tensors);

}  // namespace switchyard
