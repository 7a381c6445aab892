#pragma once

#include "core/ops/context.h"
#include "core/tensor.h"

namespace switchyard::ops {

// Rotary position embedding (Su et al., RoFormer, 2021) in the form that rotates the two halves of
// the first rotary_dim channels of a head (element i with element i + rotary_dim / 2).

// table [positions, rotary_dim / 2, 2] f32 of (cos, sin)(position * base^(-2 i / rotary_dim)),
// computed in float64 on the host; a table on a GPU is there when the call returns.
void rotary_table(const Tensor& table, int64_t rotary_dim, double base);

// In place on x [batch, length, heads, head_dim], any strides with a dense last axis; positions is
// i32 [length]. inverse = true rotates back: the backward pass. A position that the table does not
// have is an error on the CPU; on a GPU, whose memory the host does not wait for, the heads become
// NaN.
void rotary(const Context& context, const Tensor& x, const Tensor& table, const Tensor& positions,
            bool inverse);

}  // namespace switchyard::ops
