#include "model/block.h"

namespace switchyard {

namespace {

ParameterGroup optional_bias(const StageContext& context, std::span<const Parameter> parameters,
                             const std::string& name) {
  if (!context.config.linear_bias) return {};
  return {parameters, {name}};
}

void add_attention_statistics(ops::ResidualNorm& t, const BlockStash& stash) {
  t.y = stash.attention_input;
  t.mean = stash.attention_mean;
  t.reciprocal = stash.attention_reciprocal;
}

void add_mlp_statistics(ops::ResidualNorm& t, const BlockStash& stash) {
  t.y = stash.mlp_input;
  t.mean = stash.mlp_mean;
  t.reciprocal = stash.mlp_reciprocal;
}

}  // namespace

Block::Block(StageContext& context, std::span<const Parameter> parameters, int64_t layer)
    : context_(context),
      attention_norm_(context, parameters, layer_name(layer, "attention.norm")),
      mlp_norm_(context, parameters, layer_name(layer, "mlp.norm")),
      attention_(context, parameters, layer),
      mlp_(context, parameters, layer),
      attention_branch_{
          optional_bias(context, parameters, layer_name(layer, "attention.output.bias")),
          random_purpose(layer_name(layer, "attention.output.dropout"))},
      mlp_branch_{optional_bias(context, parameters, layer_name(layer, "mlp.down.bias")),
                  random_purpose(layer_name(layer, "mlp.dropout"))} {}

void Block::forward(BlockStash& stash, const Tensor& input, const Tensor& output,
                    KeyValueCache* cache) const {
  ops::ResidualNorm first;
  first.residual = input;
  attention_norm_.add_to(first);
  add_attention_statistics(first, stash);
  ops::residual_norm_forward(context_.ops, first);
  attention_.forward(stash, context_.work.branch, cache);
  if (context_.config.parallel_residual) return forward_parallel(stash, input, output);
  forward_serial(stash, input, output);
}

// sum = residual + dropout(branch + bias), to which a norm may be added.
ops::ResidualNorm Block::addition(const Tensor& residual, const Branch& branch,
                                  const Tensor& sum) const {
  ops::ResidualNorm t;
  t.residual = residual;
  t.x = context_.work.branch;
  t.bias = branch.bias.weight();
  t.dropout = context_.hidden_dropout(branch.dropout_purpose);
  t.sum = sum;
  return t;
}

void Block::forward_serial(BlockStash& stash, const Tensor& input, const Tensor& output) const {
  ops::ResidualNorm middle = addition(input, attention_branch_, stash.middle);
  mlp_norm_.add_to(middle);
  add_mlp_statistics(middle, stash);
  ops::residual_norm_forward(context_.ops, middle);
  mlp_.forward(stash, context_.work.branch);
  ops::residual_norm_forward(context_.ops, addition(stash.middle, mlp_branch_, output));
}

void Block::forward_parallel(BlockStash& stash, const Tensor& input, const Tensor& output) const {
  ops::residual_norm_forward(context_.ops, addition(input, attention_branch_, output));
  ops::ResidualNorm second;
  second.residual = input;
  mlp_norm_.add_to(second);
  add_mlp_statistics(second, stash);
  ops::residual_norm_forward(context_.ops, second);
  mlp_.forward(stash, context_.work.branch);
  ops::residual_norm_forward(context_.ops, addition(output, mlp_branch_, output));
}

void Block::backward(const BlockStash& stash, const Tensor& input, const Tensor& above,
                     const Tensor& below) const {
  const Tensor& mlp_gradient = context_.work.norm_gradient[0];
  mlp_.backward(stash, branch_gradient(mlp_branch_, above), mlp_gradient);
  if (context_.config.parallel_residual) return backward_parallel(stash, input, above, below);
  backward_serial(stash, input, above, below);
}

// The gradient of a branch from that of the sum; its bias's gradient on the way.
Tensor Block::branch_gradient(const Branch& branch, const Tensor& above) const {
  ops::ResidualNormBackward t;
  t.dropout = context_.hidden_dropout(branch.dropout_purpose);
  const bool dropped = t.dropout.probability > 0;
  if (!dropped && !branch.bias) return above;
  t.dsum_above = t.dsum = above;
  t.dx = dropped ? context_.work.branch : above;
  t.dbias = branch.bias.gradient();
  ops::residual_norm_backward(context_.ops, t);
  context_.report_ready(branch.bias);
  return t.dx;
}

void Block::norm_backward(const NormLayer& norm, ops::ResidualNormBackward t) const {
  norm.add_to(t);
  ops::residual_norm_backward(context_.ops, t);
  norm.report_ready();
}

void Block::backward_serial(const BlockStash& stash, const Tensor& input, const Tensor& above,
                            const Tensor& below) const {
  ops::ResidualNormBackward second;
  second.sum = stash.middle;
  second.mean = stash.mlp_mean;
  second.reciprocal = stash.mlp_reciprocal;
  second.dy = context_.work.norm_gradient[0];
  second.dsum_above = above;
  second.dsum = below;
  second.dropout = context_.hidden_dropout(attention_branch_.dropout_purpose);
  second.dx = second.dropout.probability > 0 ? context_.work.branch : below;
  second.dbias = attention_branch_.bias.gradient();
  norm_backward(mlp_norm_, second);
  context_.report_ready(attention_branch_.bias);

  attention_.backward(stash, second.dx, context_.work.norm_gradient[0]);
  ops::ResidualNormBackward first;
  first.sum = input;
  first.mean = stash.attention_mean;
  first.reciprocal = stash.attention_reciprocal;
  first.dy = context_.work.norm_gradient[0];
  first.dsum_above = first.dsum = below;
  norm_backward(attention_norm_, first);
}

void Block::backward_parallel(const BlockStash& stash, const Tensor& input, const Tensor& above,
                              const Tensor& below) const {
  attention_.backward(stash, branch_gradient(attention_branch_, above),
                      context_.work.norm_gradient[1]);
  ops::ResidualNormBackward t;
  t.sum = input;
  t.mean = stash.mlp_mean;
  t.reciprocal = stash.mlp_reciprocal;
  t.dy = context_.work.norm_gradient[0];
  t.dsum_above = above;
  t.dsum = below;
  norm_backward(mlp_norm_, t);
  t.mean = stash.attention_mean;
  t.reciprocal = stash.attention_reciprocal;
  t.dy = context_.work.norm_gradient[1];
  t.dsum_above = below;
  norm_backward(attention_norm_, t);
}

}  // namespace switchyard
