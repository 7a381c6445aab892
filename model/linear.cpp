#include "model/linear.h"

#include "core/ops/elementwise.h"
#include "core/ops/matmul/matmul.h"

namespace switchyard {

namespace {

using ops::MatmulProduct;

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

void add_weight_gradient(ProductList& list, std::string_view name, int64_t in, int64_t out,
                         bool bias = false) {
  const StepShape& step = list.step();
  auto product = MatmulProduct::weight_gradient(step.sizes.rows, in, out, step.dtype);
  product.row_sums = bias;
  list.add_weight_gradient(name, product, step.microbatches, 1);
}

// A product of all rows, as the exchange beside it divides them.
void add_in_parts(ProductList& list, std::string_view name, MatmulProduct product) {
  const StepShape& step = list.step();
  const int64_t own_rows = step.sizes.own_rows, ranks = step.sizes.rows / own_rows;
  for (const RowExchange::Parts& parts :
       RowExchange::parts_of_product(own_rows, ranks, step.exchange_chunks)) {
    product.m = parts.rows;
    list.add(name, product, parts.count * step.microbatches);
  }
}

MatmulProduct forward_product(const ProductList& list, int64_t in, int64_t out) {
  return MatmulProduct::forward(list.step().sizes.rows, in, out, list.step().dtype);
}

MatmulProduct input_gradient(const ProductList& list, int64_t in, int64_t out) {
  return MatmulProduct::input_gradient(list.step().sizes.rows, in, out, list.step().dtype);
}

}  // namespace

void ColumnParallelLinear::forward(RowExchange::Gathering& input, const Tensor& output) const {
  input.for_each_part([&](const Tensor& in, RowRange rows) {
    ops::matmul(context_.ops, in, weight_.weight(), rows.of(output),
                {.transpose_b = true, .bias = bias_.weight()});
  });
}

void ColumnParallelLinear::Products::forward(ProductList& list) const {
  MatmulProduct product = forward_product(list, in, out);
  product.bias = bias;
  add_in_parts(list, name, product);
}

void ColumnParallelLinear::forward_gelu(RowExchange::Gathering& input, const Tensor& gelu_input,
                                        const Tensor& output) const {
  input.for_each_part([&](const Tensor& in, RowRange rows) {
    ops::matmul(context_.ops, in, weight_.weight(), rows.of(output),
                {.transpose_b = true, .bias = bias_.weight(), .gelu_input = rows.of(gelu_input)});
  });
}

void ColumnParallelLinear::Products::forward_gelu(ProductList& list) const {
  MatmulProduct product = forward_product(list, in, out);
  product.bias = bias;
  product.gelu_input = true;
  add_in_parts(list, name, product);
}

void ColumnParallelLinear::backward_input(const Tensor& output_gradient, const Tensor& all_rows,
                                          const Tensor& input_gradient) const {
  context_.exchange.reduce_scatter_product(
      input_gradient, all_rows, {"reduce-scatter of input gradients"},
      [&](RowRange rows, const Tensor& to) {
        ops::matmul(context_.ops, rows.of(output_gradient), weight_.weight(), to);
      });
}

void ColumnParallelLinear::Products::backward_input(ProductList& list) const {
  add_in_parts(list, name, input_gradient(list, in, out));
}

void ColumnParallelLinear::backward_weight(const Tensor& output_gradient,
                                           const Tensor& input) const {
  weight_gradient(context_, output_gradient, input, weight_, bias_);
}

void ColumnParallelLinear::Products::backward_weight(ProductList& list) const {
  add_weight_gradient(list, name, in, out, bias);
}

void RowParallelLinear::forward(const Tensor& input, const Tensor& all_rows,
                                const Tensor& output) const {
  context_.exchange.reduce_scatter_product(
      output, all_rows, {"reduce-scatter of outputs"}, [&](RowRange rows, const Tensor& to) {
        ops::matmul(context_.ops, rows.of(input), weight_.weight(), to, {.transpose_b = true});
      });
}

void RowParallelLinear::Products::forward(ProductList& list) const {
  add_in_parts(list, name, forward_product(list, in, out));
}

void RowParallelLinear::backward_input(RowExchange::Gathering& output_gradient,
                                       const Tensor& input_gradient) const {
  output_gradient.for_each_part([&](const Tensor& gradient, RowRange rows) {
    ops::matmul(context_.ops, gradient, weight_.weight(), rows.of(input_gradient));
  });
}

void RowParallelLinear::Products::backward_input(ProductList& list) const {
  add_in_parts(list, name, input_gradient(list, in, out));
}

void RowParallelLinear::backward_gelu(RowExchange::Gathering& output_gradient,
                                      const Tensor& gelu_input,
                                      const Tensor& gelu_input_gradient) const {
  output_gradient.for_each_part([&](const Tensor& gradient, RowRange rows) {
    ops::matmul(context_.ops, gradient, weight_.weight(), rows.of(gelu_input_gradient),
                {.gelu_gradient = rows.of(gelu_input)});
  });
}

void RowParallelLinear::Products::backward_gelu(ProductList& list) const {
  MatmulProduct product = input_gradient(list, in, out);
  product.gelu_gradient = true;
  add_in_parts(list, name, product);
}

void RowParallelLinear::backward_weight(const Tensor& output_gradient, const Tensor& input) const {
  weight_gradient(context_, output_gradient, input, weight_);
}

void RowParallelLinear::Products::backward_weight(ProductList& list) const {
  add_weight_gradient(list, name, in, out);
}

}  // namespace switchyard
