#pragma once

#include "core/ops/attention/attention.h"

// Private to core/ops: attention's own kernels, for every head size up to 256, dtype, stride,
// position and dropout; arguments as in attention.h, already checked.
namespace switchyard::ops {

void own_attention_forward(const Context& context, const Tensor& q, const Tensor& k,
                           const Tensor& v, const Tensor& out, const Tensor& log_sum,
                           const AttentionOptions& options);
void own_attention_backward(const Context& context, const AttentionBackward& tensors,
                            const AttentionOptions& options);

}  // namespace switchyard::ops
