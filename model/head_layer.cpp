#include "model/head_layer.h"

#include "core/ops/cross_entropy.h"
#include "core/ops/elementwise.h"
#include "core/ops/matmul.h"

namespace switchyard {

HeadLayer::HeadLayer(StageContext& context, std::span<const Parameter> parameters)
    : context_(context),
      norm_(context, parameters, "final_norm"),
      weight_(parameters, {context.config.tied_output ? "embedding.word.weight" : "head.weight"}),
      tied_to_embedding_here_(context.config.tied_output &&
                              parameters[static_cast<size_t>(weight_.first())].stored) {}

void HeadLayer::logits(HeadStash& stash, const Tensor& input) const {
  ops::ResidualNorm t;
  t.residual = input;
  norm_.add_to(t);
  t.y = stash.normalized;
  t.mean = stash.mean;
  t.reciprocal = stash.reciprocal;
  ops::residual_norm_forward(context_.ops, t);
  auto rows = context_.exchange.gather(stash.normalized, context_.work.gathered,
                                       {"all-gather of final rows"});
  ops::matmul(context_.ops, rows.rows(), weight_.weight(), stash.logits, {.transpose_b = true});
}

// Every rank's statistics of its columns meet before the losses are known on all of them.
void HeadLayer::losses(HeadStash& stash, const Tensor& targets) const {
  const LocalSizes& s = context_.sizes;
  const Tensor& all = context_.work.statistics;
  const Tensor own =
      all.slice(0, context_.exchange.rank(), context_.exchange.rank() + 1).view({s.rows, 3});
  ops::cross_entropy_statistics(context_.ops, stash.logits, targets,
                                {s.first_token, s.valid_tokens}, own);
  auto gathered = context_.exchange.gather(own, all.view({all.shape[0] * s.rows, 3}),
                                           {"all-gather of cross-entropy statistics"});
  gathered.rows();
  ops::cross_entropy_combine(context_.ops, all, targets, stash.log_sum, context_.work.losses);
  ops::sum(context_.ops, context_.work.losses, context_.loss_sum);
}

void HeadLayer::forward(HeadStash& stash, const Tensor& input) const {
  const LocalSizes& s = context_.sizes;
  const Tensor targets = context_.batch->targets.view({s.rows});
  logits(stash, input);
  losses(stash, targets);
  if (context_.training) {
    ops::cross_entropy_gradient(context_.ops, stash.logits, targets,
                                {s.first_token, s.valid_tokens}, stash.log_sum,
                                context_.inputs.gradient_scale);
  }
}

void HeadLayer::backward(const HeadStash& stash, const Tensor& input,
                         const Tensor& input_gradient) const {
  const WorkBuffers& work = context_.work;
  auto rows =
      context_.exchange.gather(stash.normalized, work.regathered, {"all-gather of final rows"});
  const Tensor& normalized_gradient = work.norm_gradient[0];
  const Tensor partial = context_.exchange.partial(normalized_gradient, work.gathered);
  ops::matmul(context_.ops, stash.logits, weight_.weight(), partial);
  context_.exchange.reduce_scatter(partial, normalized_gradient,
                                   {"reduce-scatter of final gradients"});
  ops::matmul(context_.ops, stash.logits, rows.rows(), weight_.gradient(),
              {.transpose_a = true, .accumulate = true});
  if (!tied_to_embedding_here_) context_.report_ready(weight_);
  ops::ResidualNormBackward t;
  t.sum = input;
  norm_.add_to(t);
  t.mean = stash.mean;
  t.reciprocal = stash.reciprocal;
  t.dy = normalized_gradient;
  t.dsum = input_gradient;
  ops::residual_norm_backward(context_.ops, t);
  norm_.report_ready();
}

}  // namespace switchyard
