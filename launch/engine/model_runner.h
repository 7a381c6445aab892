#pragma once

#include <cstdint>
#include <span>

#include "core/device.h"
#include "core/memory.h"
#include "launch/engine/engine_options.h"
#include "launch/engine/input_ring.h"
#include "launch/engine/microbatches.h"
#include "model/gpt_stage.h"
#include "optim/flat_buffers.h"
#include "parallel/mesh.h"
#include "parallel/pipeline/executor.h"

namespace switchyard {

// One rank's part of a model and what takes microbatches through it: weights, activations, tokens
// on their way to the device, exchanges between the stages. It is all that evaluation needs, and
// what an Engine trains.
class ModelRunner {
 public:
  ModelRunner(const EngineOptions& options, const Mesh& mesh);  // the mesh must outlive it

  // Reads this rank's share of the microbatches of `samples` samples into host memory, as
  // read_microbatch does. What goes through the stage is what inputs().send then gives.
  std::span<TokenBatch> read(Share share, int64_t samples, const ReadSample& read);
  // Collective over the stages, for at least one microbatch. stage().loss_sum() holds the sum of
  // their losses once the work is done.
  void forward(std::span<const TokenBatch> batches);  // for evaluation
  void forward_backward(std::span<const TokenBatch> batches, StepInputs inputs);

  // Whether this rank's losses and tokens are its share of the sums over all ranks: others have
  // none, or the same.
  bool counts() const { return mesh_.last_stage() && mesh_.place.tp == 0; }
  const Mesh& mesh() const { return mesh_; }
  const EngineOptions& options() const { return options_; }
  ops::Context context() { return {stream_, scratch_}; }
  GptStage& stage() { return stage_; }
  FlatBuffers& buffers() { return buffers_; }
  InputRing& inputs() { return inputs_; }

 private:
  EngineOptions options_;
  const Mesh& mesh_;
  Stream stream_;
  Scratch scratch_;
  int slots_;
  GptStage stage_;
  FlatBuffers buffers_;
  PipelineExecutor executor_;
  InputRing inputs_;
};

}  // namespace switchyard
