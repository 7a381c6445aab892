#pragma once

#include <memory>
#include <span>
#include <vector>

#include "core/ops/context.h"
#include "model/config.h"
#include "model/products.h"
#include "model/step_inputs.h"
#include "parallel/mesh.h"
#include "parallel/parameter.h"
#include "parallel/pipeline/executor.h"

namespace switchyard {

// The layers of one pipeline rank, split over tp with sequence parallelism where tp > 1: between
// products a rank holds rows [tp_rank * rows / tp, ...) of the rows = micro_batch * sequence_length
// token rows (row = sample * sequence_length + position).
class GptStage : public PipelineWorker {
 public:
  struct Options {
    DType dtype = DType::f32;  // of weights and activations
    int64_t micro_batch = 1;
    int64_t sequence_length = 0;
    Device device = Device::cpu;  // of everything that the stage holds; the context's stream's
    std::vector<int> layers_of_stages = {};  // empty: balance_stages by cost
    int slots = 1;         // live microbatches; activations are allocated for these
    bool training = true;  // false: forward only, no stash, no dropout
    uint64_t seed = 0;
    int64_t head_chunk = 0;     // rows whose logits live at once; 0: all of a microbatch
    bool deterministic = true;  // the same bits each time, of attention's backward pass
    // With tp > 1: exchanges beside products run in so many chunks, while products of other chunks
    // are computed. 1: one behind the other.
    int64_t exchange_chunks = 1;
  };
  // Throws Error where the model cannot be laid out so (heads by tp, layers by pp, rows by tp...).
  GptStage(const GptConfig& config, const Mesh& mesh, const Options& options, ops::Context context);
  ~GptStage() override;

  // Checks alone, without ranks or memory.
  static void check_layout(const GptConfig& config, const Layout& layout, const Options& options);
  // For planning, without ranks or memory: layers of every stage, bytes of activations, the
  // parameters (unbound) and the products of the rank at `place`.
  static std::vector<int> stage_layers(const GptConfig& config, const Layout& layout,
                                       const Options& options);
  static int64_t activation_bytes(const GptConfig& config, const Layout& layout,
                                  const Coordinates& place, const Options& options);
  static std::vector<Parameter> stage_parameters(const GptConfig& config, const Layout& layout,
                                                 const Coordinates& place, const Options& options);
  // The matrix products of a training step of so many microbatches, in order of forward, then
  // backward, as the layers state them.
  static std::vector<CountedProduct> step_products(const GptConfig& config, const Layout& layout,
                                                   const Coordinates& place, const Options& options,
                                                   int64_t microbatches);

  std::vector<Parameter>& parameters();
  // Weights from a seed, by global element; after FlatBuffers has bound them.
  void initialize(uint64_t seed);
  Shape exchanged() const;  // [rows of this rank, hidden], what stages hand on

  // Before the executor runs. Tokens in host memory are checked here.
  void begin(std::span<const TokenBatch> batches, StepInputs inputs);
  void begin_evaluation(std::span<const TokenBatch> batches);
  // f64 [1] on the stage's device: the sum of the losses of the microbatches since begin, on the
  // last stage; 0 on the others.
  Tensor loss_sum() const;

  void forward(const Place& place, const Tensor& input, const Tensor& output) override;
  void backward(const Place& place, const Tensor& input, const Tensor& output_gradient,
                const Tensor& input_gradient) override;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace switchyard
