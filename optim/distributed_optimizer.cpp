#include "optim/distributed_optimizer.h"

#include <cmath>
#include <span>

#include "core/error.h"
#include "core/ops/elementwise.h"

namespace switchyard {

namespace {

Tensor cut(const Tensor& tensor, int64_t begin, int64_t elements) {
  return tensor.slice(0, begin, begin + elements);
}

// What outcome() holds, one behind the other.
constexpr int64_t totals_begin = ops::report_count;
constexpr int64_t remarks_begin = totals_begin + ops::total_count;
constexpr int64_t outcome_count = remarks_begin + DistributedOptimizer::remark_count;

// The small tensors of a step.
int64_t control_bytes() {
  return Arena::footprint({ops::adamw_scalar_count}, DType::f32) +
         Arena::footprint({outcome_count}, DType::f64);
}

}  // namespace

DistributedOptimizer::DistributedOptimizer(FlatBuffers& buffers, const Mesh& mesh,
                                           const Options& options, ops::Context context)
    : buffers_(buffers),
      mesh_(mesh),
      options_(options),
      context_(context),
      arena_("optimizer", bytes_needed(buffers.options().dtype, buffers.shard_elements(), options),
             buffers.options().device),
      state_(sources(buffers.options().dtype, options), buffers, mesh, context, arena_) {
  check(buffers.options().gradients, "DistributedOptimizer",
        "the buffers were made without gradients");
  check(std::isfinite(options.clip_norm) && options.clip_norm >= 0, "DistributedOptimizer",
        "clip norm {}; 0 (no clipping) or a positive number is allowed", options.clip_norm);
  scalars_ = arena_.allocate({ops::adamw_scalar_count}, DType::f32, "scalars of a step");
  outcome_ = arena_.allocate({outcome_count}, DType::f64, "outcome of a step");
  report_ = cut(outcome_, 0, ops::report_count);
  totals_ = cut(outcome_, totals_begin, ops::total_count);
  sums_ = cut(outcome_, totals_begin, outcome_count - totals_begin);
}

int64_t DistributedOptimizer::bytes_needed(DType weights, int64_t shard_elements,
                                           const Options& options) {
  return SavedState::bytes_needed(sources(weights, options), shard_elements) + control_bytes();
}

int64_t DistributedOptimizer::saved_bytes(DType weights, int64_t shard_elements,
                                          const Options& options) {
  return shard_elements * size_of(weights) +
         SavedState::bytes_needed(sources(weights, options), shard_elements);
}

void DistributedOptimizer::adopt_weights() { state_.start(); }

void DistributedOptimizer::weights_from_master() {
  if (!state_.has_own_master()) return;
  for (const ShardRun& run : state_.runs().all) {
    ops::cast(context_, state_.master(run), state_.weights(run));
  }
}

// Loss, tokens, squares of the gradients and remarks, in one exchange.
void DistributedOptimizer::sum_over_world(const Contribution& own) {
  ops::fill(context_, sums_, 0.0f);
  const auto put = [&](const Tensor& from, int64_t place, int64_t count) {
    if (!from) return;
    check(from.dtype == DType::f64 && from.elements() == count, "DistributedOptimizer",
          "a contribution of {} numbers of {}; {} of f64 are allowed", from.elements(),
          name_of(from.dtype), count);
    copy_bytes(cut(sums_, place, count).data, from.data, from.bytes(), context_.stream);
  };
  put(own.loss, ops::total_loss, 1);
  put(own.tokens, ops::total_tokens, 1);
  put(own.remarks, ops::total_count, remark_count);
  for (const ShardRun& run : state_.runs().counted) {
    ops::sum_of_squares(context_, run.in_flat(buffers_.gradients()),
                        cut(sums_, ops::total_squares, 1));
  }
  mesh_.world->all_reduce(sums_, ReduceOp::sum, context_.stream, {"all-reduce of a step's sums"})
      .wait(context_.stream);
}

void DistributedOptimizer::decide(const Tensor& learning_rate) {
  const ops::UpdateControl control{.totals = totals_,
                                   .learning_rate = learning_rate,
                                   .counters = state_.tensor(groups::counters),
                                   .loss_scale = loss_scale(),
                                   .scalars = scalars_,
                                   .report = report_};
  ops::update_control(context_, control,
                      {.beta1 = options_.adamw.beta1,
                       .beta2 = options_.adamw.beta2,
                       .clip_norm = options_.clip_norm,
                       .multiplier = options_.multiplier,
                       .scaling = options_.scaling});
}

DistributedOptimizer::Outcome DistributedOptimizer::outcome_of(std::span<const double> outcome) {
  check(outcome.size() == outcome_count, "DistributedOptimizer",
        "an outcome of {} numbers; {} are allowed", outcome.size(), outcome_count);
  Outcome result;
  result.loss = outcome[ops::report_loss];
  result.tokens = outcome[ops::report_tokens];
  result.gradient_norm = outcome[ops::report_norm];
  result.skipped = outcome[ops::report_skipped] != 0;
  result.loss_scale = outcome[ops::report_scale];
  result.applied = static_cast<int64_t>(outcome[ops::report_applied]);
  for (int64_t i = 0; i < remark_count; ++i) {
    result.remarks[i] = outcome[static_cast<size_t>(remarks_begin + i)];
  }
  return result;
}

void DistributedOptimizer::update(const std::vector<ShardRun>& runs,
                                  const ops::AdamWOptions& adamw) {
  const Tensor exp_avg = state_.tensor(groups::exp_avg);
  const Tensor exp_avg_sq = state_.tensor(groups::exp_avg_sq);
  for (const ShardRun& run : runs) {
    const ops::AdamWTensors tensors{
        .weight = state_.master(run),
        .gradient = run.in_flat(buffers_.gradients()),
        .exp_avg = run.in_shard(exp_avg),
        .exp_avg_sq = run.in_shard(exp_avg_sq),
        .rounded = state_.has_own_master() ? state_.weights(run) : Tensor()};
    ops::adamw(context_, tensors, scalars_, adamw);
  }
}

void DistributedOptimizer::step(const Contribution& own, const Tensor& learning_rate) {
  sum_over_world(own);
  decide(learning_rate);
  update(state_.runs().decayed, options_.adamw);
  ops::AdamWOptions plain = options_.adamw;
  plain.weight_decay = 0;
  update(state_.runs().plain, plain);
  state_.updated(scalars_);
}

}  // namespace switchyard
