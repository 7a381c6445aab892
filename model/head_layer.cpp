#include "model/head_layer.h"

#include <algorithm>

#include "core/ops/cross_entropy.h"
#include "core/ops/elementwise.h"
#include "core/ops/matmul/matmul.h"
#include "core/profiler.h"

namespace switchyard {

namespace {

// Of chunks of so many rows.
void add_chunks(ProductList& list, int64_t rows, int64_t times, int64_t overwrites) {
  constexpr const char* name = "output layer";
  const LocalSizes& s = list.step().sizes;
  const DType dtype = list.step().dtype;
  using ops::MatmulProduct;
  list.add(name, MatmulProduct::forward(rows, s.hidden, s.vocabulary_rows, dtype), times);
  list.add(name, MatmulProduct::input_gradient(rows, s.hidden, s.vocabulary_rows, dtype), times);
  list.add_weight_gradient(name,
                           MatmulProduct::weight_gradient(rows, s.hidden, s.vocabulary_rows, dtype),
                           times, overwrites);
}

}  // namespace

HeadLayer::HeadLayer(StageContext& context, std::span<const Parameter> parameters)
    : context_(context),
      norm_(context, parameters, "final_norm"),
      weight_(parameters, {context.config.tied_output ? "embedding.word.weight" : "head.weight"}),
      tied_to_embedding_here_(context.config.tied_output &&
                              parameters[static_cast<size_t>(weight_.first())].stored) {}

void HeadLayer::logits(const Tensor& rows, const Tensor& to) const {
  ops::matmul(context_.ops, rows, weight_.weight(), to, {.transpose_b = true});
}

void HeadLayer::forward(HeadStash& stash) const {
  const ProfiledPart part("head");
  const LocalSizes& s = context_.sizes;
  const WorkBuffers& work = context_.work;
  auto gathered =
      context_.exchange.gather(stash.normalized, work.gathered, {"all-gather of final rows"});
  const Tensor rows = gathered.rows();
  const int64_t most = work.logits.shape[0];
  for (int64_t begin = 0; begin < s.rows; begin += most) {
    const Chunk chunk{begin, std::min(begin + most, s.rows)};
    const Tensor chunk_logits = work.logits.slice(0, 0, chunk.rows());
    logits(rows.slice(0, chunk.begin, chunk.end), chunk_logits);
    chunk_losses(chunk, chunk_logits);
    if (context_.training) chunk_gradients(chunk, chunk_logits, rows);
  }
  ops::sum(context_.ops, work.losses, context_.loss_sum);
  if (!context_.training) return;
  context_.exchange.reduce_scatter(rows, stash.normalized, {"reduce-scatter of final gradients"});
}

// Writes the losses of the rows; in training the logits become their gradient.
void HeadLayer::chunk_losses(const Chunk& chunk, const Tensor& chunk_logits) const {
  if (!context_.training || context_.exchange.ranks() > 1) {
    return chunk_losses_in_parts(chunk, chunk_logits);
  }
  const LocalSizes& s = context_.sizes;
  ops::cross_entropy(context_.ops, chunk_logits,
                     context_.batch->targets.view({s.rows}).slice(0, chunk.begin, chunk.end),
                     {s.first_token, s.valid_tokens},
                     context_.work.losses.slice(0, chunk.begin, chunk.end),
                     context_.inputs.gradient_scale);
}

// Every rank's statistics of its columns meet before the losses are known on all of them.
void HeadLayer::chunk_losses_in_parts(const Chunk& chunk, const Tensor& chunk_logits) const {
  const LocalSizes& s = context_.sizes;
  const WorkBuffers& work = context_.work;
  const ops::VocabularyPart part{s.first_token, s.valid_tokens};
  const int64_t ranks = context_.exchange.ranks(), rank = context_.exchange.rank();
  const Tensor targets = context_.batch->targets.view({s.rows}).slice(0, chunk.begin, chunk.end);
  const Tensor all = work.statistics.slice(0, 0, ranks * chunk.rows());
  const Tensor own = all.slice(0, rank * chunk.rows(), (rank + 1) * chunk.rows());
  const Tensor log_sum = work.log_sum.slice(0, 0, chunk.rows());
  ops::cross_entropy_statistics(context_.ops, chunk_logits, targets, part, own);
  auto gathered = context_.exchange.gather(own, all, {"all-gather of cross-entropy statistics"});
  gathered.rows();
  ops::cross_entropy_combine(context_.ops, all.view({ranks, chunk.rows(), 3}), targets, log_sum,
                             work.losses.slice(0, chunk.begin, chunk.end));
  if (!context_.training) return;
  ops::cross_entropy_gradient(context_.ops, chunk_logits, targets, part, log_sum,
                              context_.inputs.gradient_scale);
}

// The weight's gradient first: the rows' gradient, partial sums with tp > 1, overwrites the rows.
void HeadLayer::chunk_gradients(const Chunk& chunk, const Tensor& logits_gradient,
                                const Tensor& rows) const {
  const Tensor chunk_rows = rows.slice(0, chunk.begin, chunk.end);
  const bool accumulate = context_.accumulate_gradients || chunk.begin > 0;
  ops::matmul(context_.ops, logits_gradient, chunk_rows, weight_.gradient(),
              {.transpose_a = true, .accumulate = accumulate});
  ops::matmul(context_.ops, logits_gradient, weight_.weight(), chunk_rows);
}

// The first chunk of a step's first microbatch overwrites the gradient; all others add to it.
void HeadLayer::forward_products(ProductList& list) {
  const StepShape& step = list.step();
  const int64_t chunk = step.head_chunk, rest = step.sizes.rows % chunk;
  add_chunks(list, chunk, step.sizes.rows / chunk * step.microbatches, 1);
  add_chunks(list, rest, rest == 0 ? 0 : step.microbatches, 0);
}

// The weight is reported here, where all chunks of all microbatches have gone through forward.
JoinGradient HeadLayer::backward(const HeadStash& stash, const Tensor& input,
                                 const Tensor& input_gradient, const ResidualBranch& before) const {
  const ProfiledPart part("head");
  if (!tied_to_embedding_here_) context_.report_ready(weight_);
  ops::ResidualNormBackward t;
  norm_.add_to(t);
  t.sum = input;
  t.mean = stash.mean;
  t.reciprocal = stash.reciprocal;
  t.dy = stash.normalized;
  t.dsum = input_gradient;
  const Tensor branch = before.add_to(t);
  ops::residual_norm_backward(context_.ops, t);
  norm_.report_ready();
  before.report_ready();
  return {input_gradient, branch};
}

}  // namespace switchyard
