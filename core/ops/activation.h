#pragma once

#include "core/ops/context.h"
#include "core/tensor.h"

namespace switchyard::ops {

enum class Activation : uint8_t { gelu_tanh, gelu_erf, swiglu };

// x is [rows, width], y [rows, width]; for SwiGLU (Shazeer 2020) x is [rows, 2 * width] with the
// gate first: y = silu(gate) * up. Rows are dense, f32 or bf16, on a GPU f16, too. gelu_tanh is
// GPT-2's approximation (Hendrycks and Gimpel 2016, section 2).
void activation_forward(const Context& context, Activation kind, const Tensor& x, const Tensor& y);

// dx [as x] from dy [as y] and the input of forward; dx may be x.
void activation_backward(const Context& context, Activation kind, const Tensor& x, const Tensor& dy,
                         const Tensor& dx);

}  // namespace switchyard::ops
