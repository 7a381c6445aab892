#include <fmt/core.h>

#include <array>

#include "core/ops/elementwise.h"
#include "optim/distributed_optimizer.h"

// What is kept from step to step and saved: every source is listed here and nowhere else.
namespace switchyard {

namespace {

StateSource model_weights(bool are_master) {
  StateSource source{.group = std::string(groups::model), .extent = StateExtent::weights};
  if (are_master) source.aliases.emplace_back(groups::master);
  return source;
}

StateSource master_weights() {
  return {.group = std::string(groups::master),
          .start = [](const SavedState& state, const Tensor& own, int64_t /*step*/) {
            for (const ShardRun& run : state.runs().all) {
              ops::cast(state.context(), state.weights(run), run.in_shard(own));
            }
          }};
}

StateSource moment(std::string_view group) { return {.group = std::string(group)}; }

// Checkpoints of the first format's beginnings have neither counters nor a loss scale.
StateSource update_counters(const ops::LossScaling& scaling) {
  return {
      .group = std::string(groups::counters),
      .extent = StateExtent::alike,
      .dtype = DType::i64,
      .elements = ops::counter_count,
      .start =
          [scaling](const SavedState& state, const Tensor& own, int64_t step) {
            const std::array<int64_t, ops::counter_count> counters{step, 0, 0, scaling.hysteresis};
            copy_bytes(own.data, counters.data(), own.bytes(), state.context().stream);
          },
      .when_missing = "all its updates count as applied"};
}

StateSource scale_of_losses(const ops::LossScaling& scaling) {
  const float initial = scaling.dynamic ? scaling.initial : 1.0f;
  return {.group = std::string(groups::loss_scale),
          .extent = StateExtent::alike,
          .dtype = DType::f32,
          .elements = 1,
          .start =
              [initial](const SavedState& state, const Tensor& own, int64_t /*step*/) {
                copy_bytes(own.data, &initial, own.bytes(), state.context().stream);
              },
          .when_missing = fmt::format("it is {} again", initial)};
}

}  // namespace

std::vector<StateSource> DistributedOptimizer::sources(DType weights, const Options& options) {
  const bool are_master = weights == DType::f32;
  std::vector<StateSource> all = {model_weights(are_master)};
  if (!are_master) all.push_back(master_weights());
  all.push_back(moment(groups::exp_avg));
  all.push_back(moment(groups::exp_avg_sq));
  all.push_back(update_counters(options.scaling));
  all.push_back(scale_of_losses(options.scaling));
  return all;
}

}  // namespace switchyard
