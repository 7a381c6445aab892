#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/memory.h"
#include "core/ops/adamw.h"
#include "core/ops/update_control.h"
#include "optim/saved_state.h"

namespace switchyard {

// AdamW whose fp32 master weights and moments are sharded over the data-parallel ranks (ZeRO stage
// 1: Rajbhandari et al. 2020). With fp32 weights the weights themselves are the master: no copy.
// A step is queued and decided in the device's memory (ops/update_control.h); the host never waits.
class DistributedOptimizer {
 public:
  struct Options {
    ops::AdamWOptions adamw;
    double clip_norm = 1.0;  // 0: no clipping
    // What backward multiplied the sum of the tokens' gradients by, the loss scale aside.
    double multiplier = 1.0;
    ops::LossScaling scaling = {};
  };
  static constexpr int64_t remark_count = 2;

  // What this rank adds to the sums over the world, f64 on the buffers' device; none counts as 0.
  // No token may be named by two ranks.
  struct Contribution {
    Tensor loss;     // [1], sum of the tokens' losses
    Tensor tokens;   // [1], those scored
    Tensor remarks;  // [remark_count], the caller's own numbers, summed in the same exchange
  };
  struct Outcome {
    double loss = 0;           // mean over the tokens
    double tokens = 0;         // of the global batch, scored
    double gradient_norm = 0;  // of the mean gradient over the whole model, before clipping
    bool skipped = false;      // loss or norm is not finite, and nothing was changed
    double loss_scale = 1;     // of this step's backward
    int64_t applied = 0;       // updates so far, this one included
    double remarks[remark_count] = {};
  };

  // Both must outlive this object. Allocates what sources() lists, zeroed.
  DistributedOptimizer(FlatBuffers& buffers, const Mesh& mesh, const Options& options,
                       ops::Context context);
  // The start of a run: takes over the present weights as master weights, with no update done.
  void adopt_weights();
  // One update at the learning rate f64 [1], with gradients as GradientSync::finish left them.
  // Adam's bias corrections count the updates that were applied. Collective. Only this rank's shard
  // of the weights is new afterwards: GradientSync::gather_weights brings the rest.
  void step(const Contribution& own, const Tensor& learning_rate);
  // f64 [n] on the device: what outcome_of reads, once the step's work is done.
  const Tensor& outcome() const { return outcome_; }
  static Outcome outcome_of(std::span<const double> outcome);
  // f32 [1] on the device: what the next backward multiplies the loss by.
  const Tensor& loss_scale() const { return state_.tensor(groups::loss_scale); }
  // Loading has written the master shard: rounds it into the weights (bf16), own part only.
  void weights_from_master();
  SavedState& state() { return state_; }

  // All that is saved: in fp32 the master is an alias of the weights.
  static std::vector<StateSource> sources(DType weights, const Options& options);
  static int64_t bytes_needed(DType weights, int64_t shard_elements, const Options& options);
  // What a rank writes of them into a checkpoint, at most.
  static int64_t saved_bytes(DType weights, int64_t shard_elements, const Options& options);

 private:
  void sum_over_world(const Contribution& own);
  void decide(const Tensor& learning_rate);
  void update(const std::vector<ShardRun>& runs, const ops::AdamWOptions& adamw);

  FlatBuffers& buffers_;
  const Mesh& mesh_;
  Options options_;
  ops::Context context_;
  Arena arena_;
  SavedState state_;
  Tensor scalars_;                 // f32: ops::AdamWScalar
  Tensor outcome_;                 // f64: report, totals, remarks
  Tensor report_, totals_, sums_;  // parts of it; the sums are totals and remarks
};

}  // namespace switchyard
