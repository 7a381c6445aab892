#include "model/block.h"

namespace switchyard {

namespace {

std::string bias_name(bool has, int64_t layer, const char* projection) {
  return has ? layer_name(layer, projection) + ".bias" : "";
}

}  // namespace

Block::Block(StageContext& context, std::span<const Parameter> parameters, int64_t layer)
    : context_(context),
      attention_norm_(context, parameters, layer_name(layer, "attention.norm")),
      mlp_norm_(context, parameters, layer_name(layer, "mlp.norm")),
      attention_(context, parameters, layer),
      mlp_(context, parameters, layer),
      attention_branch_(
          context, parameters,
          bias_name(context.config.has_attention_output_bias(), layer, "attention.output"),
          layer_name(layer, "attention.output.dropout")),
      mlp_branch_(context, parameters, bias_name(context.config.has_mlp_bias(), layer, "mlp.down"),
                  layer_name(layer, "mlp.dropout")) {}

void Block::forward(BlockStash& stash, const Tensor& input, const Tensor& output,
                    const NormOutput& behind, KeyValueCache* cache) const {
  const bool parallel = context_.config.parallel_residual;
  const Tensor middle = parallel ? output : stash.middle;
  attention_.forward(stash, context_.work.branch, cache);
  ops::ResidualNorm first = attention_branch_.addition(input, middle);
  if (!parallel) second_norm(stash).add_to(first);
  ops::residual_norm_forward(context_.ops, first);
  if (parallel) second_norm(stash).normalize(context_.ops, input);
  mlp_.forward(stash, context_.work.branch);
  ops::ResidualNorm last = mlp_branch_.addition(middle, output);
  behind.add_to(last);
  ops::residual_norm_forward(context_.ops, last);
}

void Block::forward_products(ProductList& list) {
  AttentionLayer::forward_products(list);
  MlpLayer::forward_products(list);
}

JoinGradient Block::backward(const BlockStash& stash, const Tensor& input,
                             const JoinGradient& above, const Tensor& below,
                             const ResidualBranch* before) const {
  const WorkBuffers& work = context_.work;
  mlp_.backward(stash, above.branch, work.norm_gradient[0]);
  if (!context_.config.parallel_residual) {
    const Tensor gradient = serial_attention_gradient(stash, above.stream, below);
    attention_.backward(stash, gradient, work.norm_gradient[0]);
    return first_norm_backward(stash, input, work.norm_gradient[0], below, before);
  }
  attention_.backward(stash, attention_branch_.backward(above.stream), work.norm_gradient[1]);
  ops::ResidualNormBackward t;
  t.sum = input;
  t.dsum_above = above.stream;
  t.dsum = below;
  second_norm_backward(stash, t);
  return first_norm_backward(stash, input, work.norm_gradient[1], below, before);
}

void Block::backward_products(ProductList& list) {
  MlpLayer::backward_products(list);
  AttentionLayer::backward_products(list);
}

// Through the MLP's norm into the stream between the branches, where attention joins it.
Tensor Block::serial_attention_gradient(const BlockStash& stash, const Tensor& above,
                                        const Tensor& below) const {
  ops::ResidualNormBackward t;
  t.sum = stash.middle;
  t.dsum_above = above;
  t.dsum = below;
  const Tensor gradient = attention_branch_.add_to(t);
  second_norm_backward(stash, t);
  attention_branch_.report_ready();
  return gradient;
}

void Block::second_norm_backward(const BlockStash& stash, ops::ResidualNormBackward& t) const {
  mlp_norm_.add_to(t);
  t.mean = stash.mlp_mean;
  t.reciprocal = stash.mlp_reciprocal;
  t.dy = context_.work.norm_gradient[0];
  ops::residual_norm_backward(context_.ops, t);
  mlp_norm_.report_ready();
}

JoinGradient Block::first_norm_backward(const BlockStash& stash, const Tensor& input,
                                        const Tensor& normalized_gradient, const Tensor& below,
                                        const ResidualBranch* before) const {
  ops::ResidualNormBackward t;
  attention_norm_.add_to(t);
  t.sum = input;
  t.mean = stash.attention_mean;
  t.reciprocal = stash.attention_reciprocal;
  t.dy = normalized_gradient;
  t.dsum_above = t.dsum = below;
  const Tensor branch = before != nullptr ? before->add_to(t) : Tensor();
  ops::residual_norm_backward(context_.ops, t);
  attention_norm_.report_ready();
  if (before != nullptr) before->report_ready();
  return {below, branch};
}

}  // namespace switchyard
