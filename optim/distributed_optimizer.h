#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "core/memory.h"
#include "core/ops/adamw.h"
#include "core/ops/update_control.h"
#include "optim/flat_buffers.h"
#include "parallel/mesh.h"

namespace switchyard {

// What a list of state tensors is for. Saving names each element once over the whole mesh; loading
// names every copy: every replica within tp, tied ones on both stages.
enum class StateUse : uint8_t { save, load };

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
    double clip_factor = 1;    // clip / (norm + 1e-6) when norm > clip
    bool skipped = false;      // loss or norm is not finite, and nothing was changed
    double loss_scale = 1;     // of this step's backward
    int64_t applied = 0;       // updates so far, this one included
    double remarks[remark_count] = {};
  };

  // Both must outlive this object. Allocates moments and master weights, zeroed.
  DistributedOptimizer(FlatBuffers& buffers, const Mesh& mesh, const Options& options,
                       ops::Context context);
  // Takes over the present weights as master weights (after initialisation or loading of weights).
  void adopt_weights();
  // One update at the learning rate f64 [1], with gradients as GradientSync::finish left them.
  // Adam's bias corrections count the updates that were applied. Collective. Only this rank's shard
  // of the weights is new afterwards: GradientSync::gather_weights brings the rest.
  void step(const Contribution& own, const Tensor& learning_rate);
  // f64 [n] on the device: what outcome_of reads, once the step's work is done.
  const Tensor& outcome() const { return outcome_; }
  static Outcome outcome_of(std::span<const double> outcome);
  // f32 [1] on the device: what the next backward multiplies the loss by.
  const Tensor& loss_scale() const { return loss_scale_; }
  // Loading has written the master shard: rounds it into the weights (bf16), own part only.
  void weights_from_master();
  // For a checkpoint that has no counters: as if every update so far had been applied.
  void assume_applied(int64_t updates);

  // This rank's parts of /model/..., /optimizer/master/..., /optimizer/exp_avg/... and
  // /optimizer/exp_avg_sq/...; in fp32 the master is an alias of the weights. All names of this
  // rank's parameters are listed, also those it has no pieces of. Last come the counters and the
  // loss scale under the two names below.
  std::vector<ShardedTensor> state(StateUse use) const;
  static constexpr const char* counters_name = "/optimizer/counters";  // i64, ops::UpdateCounter
  static constexpr const char* loss_scale_name = "/optimizer/loss_scale";  // f32 [1]

  static int64_t bytes_needed(const FlatBuffers& buffers);
  static int64_t bytes_needed(DType weights, int64_t shard_elements);  // for planning

 private:
  // Elements next to each other both in the shard and in the flat buffers.
  struct Run {
    int64_t flat_begin = 0;
    int64_t shard_begin = 0;
    int64_t elements = 0;
  };
  std::vector<Run> runs_where(const std::function<bool(const Parameter&)>& chosen) const;
  bool is_counted(const Parameter& parameter) const;
  bool has_own_master() const { return buffers_.options().dtype != DType::f32; }
  Tensor master(const Run& run) const;
  void set_control(int64_t applied);
  void sum_over_world(const Contribution& own);
  void decide(const Tensor& learning_rate);
  void update(const std::vector<Run>& runs, const ops::AdamWOptions& adamw);
  void list_control(std::vector<ShardedTensor>& tensors, StateUse use) const;

  FlatBuffers& buffers_;
  const Mesh& mesh_;
  Options options_;
  ops::Context context_;
  Arena arena_;
  Tensor exp_avg_, exp_avg_sq_;       // [shard elements] f32
  Tensor master_;                     // [shard elements] f32; none where the weights are the master
  Tensor scalars_;                    // f32: ops::AdamWScalar
  Tensor counters_;                   // i64: ops::UpdateCounter
  Tensor loss_scale_;                 // f32 [1]
  Tensor outcome_;                    // f64: report, totals, remarks
  Tensor report_, totals_, sums_;     // parts of it; the sums are totals and remarks
  std::vector<Run> decayed_, plain_;  // of parameters with weight decay and without
  std::vector<Run> counted_;          // of those that the norm counts on this rank
  std::vector<Run> all_;
};

}  // namespace switchyard
