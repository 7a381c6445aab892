#include "core/ops/matmul/behind.h"

#include "core/ops/activation.h"
#include "core/ops/elementwise.h"

namespace switchyard::ops {

void gelu_behind(const Context& context, const Tensor& c, const Tensor& gelu_input) {
  activation_forward(context, Activation::gelu_tanh, gelu_input, c);
}

void gelu_gradient_behind(const Context& context, const Tensor& c, const Tensor& gelu_gradient) {
  activation_backward(context, Activation::gelu_tanh, gelu_gradient, c, c);
}

void row_sums_behind(const Context& context, const Tensor& a, const Tensor& row_sums) {
  if (a.is_contiguous()) return column_sum(context, a, row_sums);
  Scratch::Scope scope(context.scratch);
  const Tensor dense = scope.allocate(a.shape, a.dtype);
  copy(context, a, dense);
  column_sum(context, dense, row_sums);
}

}  // namespace switchyard::ops
