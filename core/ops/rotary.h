#pragma once

#include <optional>
#include <span>
#include <vector>

#include "core/ops/context.h"
#include "core/tensor.h"

namespace switchyard::ops {

// Rotary position embedding (Su et al., RoFormer, 2021) in the form that rotates the two halves of
// the first rotary_dim channels of a head (element i with element i + rotary_dim / 2).

// For positions beyond those that a model was first trained on, by wavelength (Grattafiori et al.,
// The Llama 3 herd of models, 2024, as released with Llama 3.1): frequencies whose wavelength is
// above original_positions / low_frequency are divided by the factor, those below
// original_positions / high_frequency stay, and between them the two are interpolated, linearly in
// original_positions / wavelength.
struct RotaryScaling {
  double factor = 8.0;  // at least 1
  double low_frequency = 1.0;
  double high_frequency = 4.0;  // above low_frequency
  int64_t original_positions = 8192;
};

// base^(-2 i / rotary_dim) for i < rotary_dim / 2, in radians a position, scaled where that is
// given.
std::vector<double> rotary_frequencies(int64_t rotary_dim, double base,
                                       const std::optional<RotaryScaling>& scaling = {});

// table [positions, frequencies, 2] f32 of (cos, sin)(position * frequency), computed in float64 on
// the host; a table on a GPU is there when the call returns.
void rotary_table(const Tensor& table, std::span<const double> frequencies);

// In place on x [batch, length, heads, head_dim], any strides with a dense last axis; positions is
// i32 [length]. inverse = true rotates back: the backward pass. A position that the table does not
// have is an error on the CPU; on a GPU, whose memory the host does not wait for, the heads become
// NaN.
void rotary(const Context& context, const Tensor& x, const Tensor& table, const Tensor& positions,
            bool inverse);

}  // namespace switchyard::ops
