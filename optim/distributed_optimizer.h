#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "core/memory.h"
#include "core/ops/adamw.h"
#include "parallel/flat_buffers.h"
#include "parallel/mesh.h"

namespace switchyard {

// What a list of state tensors is for. Saving names each element once over the whole mesh; loading
// names every copy: replicated weights on each tp rank, tied ones on both stages.
enum class StateUse : uint8_t { save, load };

// AdamW whose fp32 master weights and moments are sharded over the data-parallel ranks (ZeRO stage
// 1: Rajbhandari et al. 2020). With fp32 weights the weights themselves are the master: no copy.
class DistributedOptimizer {
 public:
  struct Options {
    ops::AdamWOptions adamw;
    double clip_norm = 1.0;  // 0: no clipping
  };
  struct Result {
    double gradient_norm = 0;  // of the mean gradient over the whole model, before clipping
    double clip_factor = 1;    // clip / (norm + 1e-6) when norm > clip
    bool finite = true;        // false: nothing was changed
  };

  // Both must outlive this object. Allocates moments and master weights, zeroed.
  DistributedOptimizer(FlatBuffers& buffers, const Mesh& mesh, const Options& options,
                       ops::Context context);
  // Takes over the present weights as master weights (after initialisation or loading of weights).
  void adopt_weights();
  // One update with gradients as GradientSync::finish left them, multiplied by gradient_scale (1 /
  // tokens of the global batch). `updates` counts from 1. Collective. Only this rank's shard of the
  // weights is new afterwards: GradientSync::gather_weights brings the rest.
  Result step(int64_t updates, double learning_rate, double gradient_scale);
  // Loading has written the master shard: rounds it into the weights (bf16), own part only.
  void weights_from_master();

  // This rank's parts of /model/..., /optimizer/master/..., /optimizer/exp_avg/... and
  // /optimizer/exp_avg_sq/...; in fp32 the master is an alias of the weights. All names of this
  // rank's parameters are listed, also those it has no pieces of.
  std::vector<ShardedTensor> state(StateUse use) const;

  static int64_t bytes_needed(const FlatBuffers& buffers);

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
  double gradient_norm(double gradient_scale);
  void update(const std::vector<Run>& runs, const ops::AdamWOptions& adamw);

  FlatBuffers& buffers_;
  const Mesh& mesh_;
  Options options_;
  ops::Context context_;
  Arena arena_;
  Tensor exp_avg_, exp_avg_sq_;       // [shard elements] f32
  Tensor master_;                     // [shard elements] f32; none where the weights are the master
  Tensor scalars_;                    // [4] f32: ops::AdamWScalar
  std::vector<Run> decayed_, plain_;  // of parameters with weight decay and without
  std::vector<Run> counted_;          // of those that the norm counts on this rank
  std::vector<Run> all_;
};

}  // namespace switchyard
