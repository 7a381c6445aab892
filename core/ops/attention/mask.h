#pragma once

#include "core/ops/attention/attention.h"

// Private to core/ops.
namespace switchyard::ops {

// mask [samples, heads, length, length], of a floating dtype, contiguous: 1 where dropout keeps the
// weight of a key that the query sees, 0 elsewhere. Samples and heads count from the options' first
// ones, positions from 0. Dropout is above 0.
void attention_mask(const Context& context, const Tensor& mask, const AttentionOptions& options);

}  // namespace switchyard::ops
