#include "model/linear.h"

#include "core/ops/elementwise.h"
#include "core/ops/matmul/matmul.h"

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

void ColumnParallelLinear::forward(RowExchange::Gathering& input, const Tensor& output) const {
  input.for_each_part([&](const Tensor& in, RowRange rows) {
    ops::matmul(context_.ops, in, weight_.weight(), rows.of(output),
                {.transpose_b = true, .bias = bias_.weight()});
  });
}

void ColumnParallelLinear::forward_gelu(RowExchange::Gathering& input, const Tensor& gelu_input,
                                        const Tensor& output) const {
  input.for_each_part([&](const Tensor& in, RowRange rows) {
    ops::matmul(context_.ops, in, weight_.weight(), rows.of(output),
                {.transpose_b = true, .bias = bias_.weight(), .gelu_input = rows.of(gelu_input)});
  });
}

void ColumnParallelLinear::backward_input(const Tensor& output_gradient, const Tensor& all_rows,
                                          const Tensor& input_gradient) const {
  context_.exchange.reduce_scatter_product(
      input_gradient, all_rows, {"reduce-scatter of input gradients"},
      [&](RowRange rows, const Tensor& to) {
        ops::matmul(context_.ops, rows.of(output_gradient), weight_.weight(), to);
      });
}

void ColumnParallelLinear::backward_weight(const Tensor& output_gradient,
                                           const Tensor& input) const {
  weight_gradient(context_, output_gradient, input, weight_, bias_);
}

void RowParallelLinear::forward(const Tensor& input, const Tensor& all_rows,
                                const Tensor& output) const {
  context_.exchange.reduce_scatter_product(
      output, all_rows, {"reduce-scatter of outputs"}, [&](RowRange rows, const Tensor& to) {
        ops::matmul(context_.ops, rows.of(input), weight_.weight(), to, {.transpose_b = true});
      });
}

void RowParallelLinear::backward_input(RowExchange::Gathering& output_gradient,
                                       const Tensor& input_gradient) const {
  output_gradient.for_each_part([&](const Tensor& gradient, RowRange rows) {
    ops::matmul(context_.ops, gradient, weight_.weight(), rows.of(input_gradient));
  });
}

void RowParallelLinear::backward_gelu(RowExchange::Gathering& output_gradient,
                                      const Tensor& gelu_input,
                                      const Tensor& gelu_input_gradient) const {
  output_gradient.for_each_part([&](const Tensor& gradient, RowRange rows) {
    ops::matmul(context_.ops, gradient, weight_.weight(), rows.of(gelu_input_gradient),
                {.gelu_gradient = rows.of(gelu_input)});
  });
}

void RowParallelLinear::backward_weight(const Tensor& output_gradient, const Tensor& input) const {
  weight_gradient(context_, output_gradient, input, weight_);
}

}  // namespace switchyard
