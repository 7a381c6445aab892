#pragma once

#include "core/ops/context.h"
#include "core/tensor.h"

// Private to core/ops: what a backend does behind a product by other operators where it is not
// fused with it; the same for every device.
namespace switchyard::ops {

// c = gelu_tanh(gelu_input), which has received the product.
void gelu_behind(const Context& context, const Tensor& c, const Tensor& gelu_input);
// c *= gelu_tanh'(gelu_gradient)
void gelu_gradient_behind(const Context& context, const Tensor& c, const Tensor& gelu_gradient);
// row_sums += the sums of a [k, m], stored so, along k.
void row_sums_behind(const Context& context, const Tensor& a, const Tensor& row_sums);

}  // namespace switchyard::ops
