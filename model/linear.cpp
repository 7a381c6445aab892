#include "model/linear.h"

#include "core/ops/elementwise.h"
#include "core/ops/matmul.h"

namespace switchyard {

namespace {

void weight_gradient(const StageContext& context, const Tensor& output_gradient,
                     const Tensor& input, const ParameterGroup& weight,
                     const ParameterGroup& bias = {}) {
  ops::matmul(context.ops, output_gradient, input, weight.gradient(),
              {.transpose_a = true,
               .accumulate = context.accumulate_gradients,
               .row_sums = bias.gradient()});
  context.report_ready(bias);
  context.report_ready(weight);
}

}  // namespace

void ColumnParallelLinear::forward(const Tensor& input, const Tensor& output) const {
  ops::matmul(context_.ops, input, weight_.weight(), output,
              {.transpose_b = true, .bias = bias_.weight()});
}

void ColumnParallelLinear::forward_gelu(const Tensor& input, const Tensor& gelu_input,
                                        const Tensor& output) const {
  ops::matmul(context_.ops, input, weight_.weight(), output,
              {.transpose_b = true, .bias = bias_.weight(), .gelu_input = gelu_input});
}

void ColumnParallelLinear::backward_input(const Tensor& output_gradient, const Tensor& all_rows,
                                          const Tensor& input_gradient) const {
  const Tensor partial = context_.exchange.partial(input_gradient, all_rows);
  ops::matmul(context_.ops, output_gradient, weight_.weight(), partial);
  context_.exchange.reduce_scatter(partial, input_gradient, {"reduce-scatter of input gradients"});
}

void ColumnParallelLinear::backward_weight(const Tensor& output_gradient,
                                           const Tensor& input) const {
  weight_gradient(context_, output_gradient, input, weight_, bias_);
}

void RowParallelLinear::forward(const Tensor& input, const Tensor& all_rows,
                                const Tensor& output) const {
  const Tensor partial = context_.exchange.partial(output, all_rows);
  ops::matmul(context_.ops, input, weight_.weight(), partial, {.transpose_b = true});
  context_.exchange.reduce_scatter(partial, output, {"reduce-scatter of outputs"});
}

void RowParallelLinear::backward_input(const Tensor& output_gradient,
                                       const Tensor& input_gradient) const {
  ops::matmul(context_.ops, output_gradient, weight_.weight(), input_gradient);
}

void RowParallelLinear::backward_gelu(const Tensor& output_gradient, const Tensor& gelu_input,
                                      const Tensor& gelu_input_gradient) const {
  ops::matmul(context_.ops, output_gradient, weight_.weight(), gelu_input_gradient,
              {.gelu_gradient = gelu_input});
}

void RowParallelLinear::backward_weight(const Tensor& output_gradient, const Tensor& input) const {
  weight_gradient(context_, output_gradient, input, weight_);
}

}  // namespace switchyard
