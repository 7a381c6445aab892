#pragma once

#include <vector>

#include "core/memory.h"
#include "core/ops/adamw.h"
#include "parallel/flat_buffers.h"
#include "parallel/mesh.h"

namespace switchyard {

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
  // /optimizer/exp_avg_sq/...; in fp32 the master is an alias of the weights.
  std::vector<ShardedTensor> state();

  static int64_t bytes_needed(const FlatBuffers& buffers);

 private:
  // (filled in by the implementation)
};

}  // namespace switchyard
