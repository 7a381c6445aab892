#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <span>

#include "launch/engine/model_runner.h"
#include "launch/engine/outcome_queue.h"
#include "launch/engine/step_graph.h"
#include "launch/engine/step_remarks.h"
#include "optim/averages.h"
#include "optim/distributed_optimizer.h"
#include "optim/gradient_sync.h"

namespace switchyard {

// Trains one rank's part of a model. Every call is collective. On a GPU a step is queued without
// waiting for the device; what came of it is read later.
class Engine {
 public:
  struct StepResult {
    int64_t step = 0;
    double loss = 0;  // mean over the global batch's tokens
    double grad_norm = 0;
    double loss_scale = 1;  // of this step's backward
    bool skipped = false;   // fp16 overflowed and nothing was changed
    int64_t applied = 0;    // updates so far
    bool stop = false;      // a rank asked to stop
  };

  Engine(const EngineOptions& options, const Mesh& mesh);  // options.training is set
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
  // norm is not finite, but in fp16; then nothing changed. Throws what any rank has noted among its
  // remarks() when the step was queued. OverdueStep behind the step_limit.
  StepResult finish_step();
  int64_t unfinished_steps() const { return outcomes_.size(); }
  int64_t captured_steps() const { return graph_.recordings(); }  // later ones were replayed
  // Waits for the exchange of weights behind the last step: before any rank frees its weights.
  void settle();
  StepRemarks& remarks() { return remarks_; }

  // The model with its weights arrived, as to score it.
  ModelRunner& model();
  // All that is saved, at rest: to list for a checkpoint, or to load. A rank may load by itself;
  // all then call gather_after_load(), which brings the weights to every rank.
  SavedState& state();
  void gather_after_load();
  // At rest, too: to save, or to load beside the state.
  Averages& averages();
  // Calls the body with the model's weights being an average that has a value; behind it they are
  // the raw ones again, bit for bit. Collective. Not where the body throws.
  void with_average(size_t average, const std::function<void(ModelRunner& model)>& body);
  ops::Context context() { return model_.context(); }        // that steps are queued with
  Device device() const { return model_.options().device; }  // of everything that it holds

 private:
  Share share() const;  // of a training step's microbatches
  std::span<const TokenBatch> read_step(int64_t step, const ReadSample& read, double& tokens);
  void replay_step(std::span<const TokenBatch> batches, int64_t step,
                   const InputRing::DeviceNumbers& numbers);
  void update(const InputRing::DeviceNumbers& numbers);
  void backward_step(std::span<const TokenBatch> batches, int64_t step);

  StepGraph graph_;  // goes after the memory that it uses
  ModelRunner model_;
  DistributedOptimizer::Options optimizer_options_;
  GradientSync sync_;
  DistributedOptimizer optimizer_;
  Averages averages_;
  OutcomeQueue outcomes_;
  StepRemarks remarks_;
  int exceptions_ = std::uncaught_exceptions();
};

}  // namespace switchyard
