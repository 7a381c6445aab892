#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "core/ops/context.h"
#include "model/config.h"
#include "parallel/flat_buffers.h"
#include "parallel/mesh.h"
#include "parallel/parameter.h"
#include "parallel/pipeline_executor.h"

namespace switchyard {

// The tokens of one microbatch, [micro_batch, sequence_length] i32; a target of -1 is not scored.
struct TokenBatch {
  Tensor tokens;
  Tensor targets;
  int64_t first_sample = 0;  // its first sample's number in the global batch
};

// The layers of one pipeline rank, split over tp with sequence parallelism where tp > 1: between
// products a rank holds rows [tp_rank * rows / tp, ...) of the rows = micro_batch * sequence_length
// token rows (row = sample * sequence_length + position).
class GptStage : public PipelineWorker {
 public:
  struct Options {
    DType dtype = DType::f32;  // of weights and activations
    int64_t micro_batch = 1;
    int64_t sequence_length = 0;
    std::vector<int> layers_of_stages = {};  // empty: balance_stages by cost
    int slots = 1;         // live microbatches; activations are allocated for these
    bool training = true;  // false: forward only, no stash, no dropout
    uint64_t seed = 0;
  };
  // Throws Error where the model cannot be laid out so (heads by tp, layers by pp, rows by tp...).
  GptStage(const GptConfig& config, const Mesh& mesh, const Options& options, ops::Context context);
  ~GptStage() override;

  // Checks alone, without ranks or memory.
  static void check_layout(const GptConfig& config, const Layout& layout, const Options& options);
  // For planning, without ranks or memory: layers of every stage, bytes of activations and the
  // parameters (unbound) of the rank at `place`.
  static std::vector<int> stage_layers(const GptConfig& config, const Layout& layout,
                                       const Options& options);
  static int64_t activation_bytes(const GptConfig& config, const Layout& layout,
                                  const Coordinates& place, const Options& options);
  static std::vector<Parameter> stage_parameters(const GptConfig& config, const Layout& layout,
                                                 const Coordinates& place, const Options& options);

  std::vector<Parameter>& parameters();
  void initialize();  // weights from the seed, by global element; after FlatBuffers has bound them
  Shape exchanged() const;  // [rows of this rank, hidden], what stages hand on

  // Before the executor runs: the microbatches, the step (dropout) and what is called with a
  // parameter's index when its gradient is complete (in the last microbatch's backward).
  void begin(std::span<const TokenBatch> batches, int64_t step,
             std::function<void(int parameter)> ready);
  void begin_evaluation(std::span<const TokenBatch> batches);
  // On the last stage: sum of the losses of the microbatches since begin, and their scored tokens.
  double loss_sum() const;
  int64_t scored_tokens() const;

  void forward(const Place& place, const Tensor& input, const Tensor& output) override;
  void backward(const Place& place, const Tensor& input, const Tensor& output_gradient,
                const Tensor& input_gradient) override;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace switchyard
