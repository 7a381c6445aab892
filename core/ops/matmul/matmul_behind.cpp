#include "core/ops/matmul/matmul_behind.h"

#include "core/ops/activation.h"
#include "core/ops/elementwise.h"

namespace switchyard::ops {

void gelu_behind(const Context& context, const Tensor& c, const MatmulOptions& options) {
  activation_forward(context, Activation::gelu_tanh, options.gelu_input, c);
}

void gelu_gradient_behind(const Context& context, const Tensor& c, const MatmulOptions& options) {
  activation_backward(context, Activation::gelu_tanh, options.gelu_gradient, c, c);
}

void row_sums_behind(const Context& context, const Tensor& a, const MatmulOptions& options) {
  if (a.is_contiguous()) return column_sum(context, a, options.row_sums);
  Scratch::Scope scope(context.scratch);
  const Tensor dense = scope.allocate(a.shape, a.dtype);
  copy(context, a, dense);
  column_sum(context, dense, options.row_sums);
}

}  // namespace switchyard::ops
