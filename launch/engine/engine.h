#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/device.h"
#include "core/memory.h"
#include "launch/engine/engine_options.h"
#include "launch/engine/input_ring.h"
#include "launch/engine/outcome_queue.h"
#include "launch/engine/step_graph.h"
#include "model/gpt_stage.h"
#include "optim/distributed_optimizer.h"
#include "optim/flat_buffers.h"
#include "optim/gradient_sync.h"
#include "parallel/checkpoint/checkpoint.h"
#include "parallel/mesh.h"
#include "parallel/pipeline/executor.h"

namespace switchyard {

// One rank's part of a model and all that trains or evaluates it. Every call is collective. On a
// GPU a step is queued without waiting for the device; what came of it is read later.
class Engine {
 public:
  // Fills tokens and targets [sequence_length] of sample i of the batch.
  using ReadSample =
      std::function<void(int64_t sample, std::span<int32_t> tokens, std::span<int32_t> targets)>;
  struct StepResult {
    int64_t step = 0;
    double loss = 0;  // mean over the global batch's tokens
    double grad_norm = 0;
    double loss_scale = 1;  // of this step's backward
    bool skipped = false;   // fp16 overflowed and nothing was changed
    int64_t applied = 0;    // updates so far
    bool stop = false;      // a rank asked to stop
  };
  struct Score {
    double loss_sum = 0;
    int64_t tokens = 0;
  };

  Engine(const EngineOptions& options, const Mesh& mesh);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  void initialize(uint64_t seed);  // random weights, zero moments
  // On a GPU: forward and backward passes over padding, no update, so that step 1 finds plans,
  // scratch memory, kernels and the exchanges' channels ready. Needs weights.
  void rehearse();
  // Queues a step; at most OutcomeQueue::capacity may be unfinished. Whether this rank asks to stop
  // is looked up when the step's work is queued. A sample that cannot be read is an error of
  // finish_step(), on every rank.
  void queue_step(int64_t step, double learning_rate, const ReadSample& read,
                  const std::function<bool()>& asks_to_stop = {});
  // The oldest unfinished step; waits for it. Throws Error naming the step when loss or gradient
  // norm is not finite, but in fp16; then nothing changed. OverdueStep behind the step_limit.
  StepResult finish_step();
  int64_t unfinished_steps() const { return outcomes_.size(); }
  int64_t captured_steps() const { return graph_.recordings(); }  // later ones were replayed
  StepResult train_step(int64_t step, double learning_rate, const ReadSample& read);
  // An error of this rank alone, which the next step tells all ranks of: its finish_step() throws.
  void note_failure(const Error& problem);
  // The failures noted so far, at once; only with no step unfinished.
  void agree_on_failures();
  // Throws Error (non_finite) on all ranks for a value that all have.
  void stop_unless_finite(const char* what, int64_t step, double value);
  // Waits for the exchange of weights behind the last step: before any rank frees its weights.
  void settle();
  // Sums over all `samples` samples, dealt to the dp ranks by microbatches.
  Score score(int64_t samples, const ReadSample& read);

  std::vector<ShardedTensor> state_to_save();
  // Weights and moments; not collective until all ranks have called gather_after_load(). Returns
  // which stored pieces were checked on the way, as CheckpointReader::read_and_check.
  std::vector<int32_t> load_training_state(const CheckpointReader& reader,
                                           const std::function<void(int64_t bytes)>& progress = {});
  void gather_after_load();
  // Weights alone, from any group that has them all and any precision; for an engine that does not
  // train.
  void load_weights(const CheckpointReader& reader, std::string_view group = groups::model);

  ops::Context context() { return {stream_, scratch_}; }
  GptStage& stage();  // its weights have arrived
  FlatBuffers& buffers() { return buffers_; }
  Device device() const { return options_.device; }

 private:
  std::span<TokenBatch> read_microbatches(Share share, int64_t samples, const ReadSample& read);
  void read_microbatch(TokenBatch& batch, int64_t samples, const ReadSample& read) const;
  void run(std::span<const TokenBatch> batches, bool forward_only);
  void replay_step(std::span<const TokenBatch> batches, int64_t step,
                   const InputRing::DeviceNumbers& numbers);
  void update(const InputRing::DeviceNumbers& numbers);
  void backward_step(std::span<const TokenBatch> batches, int64_t step);
  bool counts() const { return mesh_.last_stage() && mesh_.place.tp == 0; }
  void load_weight(const CheckpointReader& reader, const StoredTensor& stored, const Parameter& p);
  Score sum_over_ranks(double loss_sum, int64_t tokens);
  double read_loss_sum();

  EngineOptions options_;
  const Mesh& mesh_;
  Stream stream_;
  StepGraph graph_;  // goes after the memory that it uses
  Scratch scratch_;
  int slots_;
  GptStage stage_;
  FlatBuffers buffers_;
  std::unique_ptr<GradientSync> sync_;
  std::unique_ptr<DistributedOptimizer> optimizer_;
  PipelineExecutor executor_;
  InputRing inputs_;
  OutcomeQueue outcomes_;
  std::optional<Error> failure_;  // noted here and not yet thrown
  int exceptions_ = std::uncaught_exceptions();
};

}  // namespace switchyard
