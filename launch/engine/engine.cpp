#include "launch/engine/engine.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "core/logging.h"

namespace switchyard {

namespace {

// In fp16 the gradients of a sum over all tokens would overflow where those of their mean do not.
DistributedOptimizer::Options optimizer_options(const EngineOptions& o) {
  DistributedOptimizer::Options options = o.optimizer;
  options.scaling.dynamic = o.dtype == DType::f16;
  if (options.scaling.dynamic) {
    options.multiplier =
        1.0 / (static_cast<double>(o.global_batch) * static_cast<double>(o.sequence_length));
  }
  return options;
}

}  // namespace

Engine::Engine(const EngineOptions& options, const Mesh& mesh)
    : graph_(options.cuda_graph),
      model_(options, mesh),
      optimizer_options_(optimizer_options(options)),
      sync_(model_.buffers(), mesh, context()),
      optimizer_(model_.buffers(), mesh, optimizer_options_, context()),
      averages_(options.averages, optimizer_.state(), model_.buffers(),
                options.averages_on_host ? Device::cpu : options.device),
      outcomes_(options.device,
                options.cuda_graph ? options.step_limit : std::chrono::milliseconds(0)),
      remarks_(mesh.world->control()) {}

void Engine::initialize(uint64_t seed) {
  model_.stage().initialize(seed);
  optimizer_.adopt_weights();
}

Share Engine::share() const {
  const EngineOptions& o = model_.options();
  const Mesh& mesh = model_.mesh();
  return share_of(o.global_batch / o.micro_batch, mesh.layout.dp, mesh.place.dp);
}

// Forward and backward passes, and the sums of the gradients over the ranks.
void Engine::backward_step(std::span<const TokenBatch> batches, int64_t step) {
  sync_.begin_step();
  StepInputs inputs;
  inputs.step = step;
  inputs.step_on_device = model_.inputs().step_on_device();
  inputs.gradient_scale.multiplier = static_cast<float>(optimizer_options_.multiplier);
  if (optimizer_options_.scaling.dynamic) {
    inputs.gradient_scale.loss_scale = optimizer_.loss_scale();
  }
  inputs.needed = [this](int parameter) { sync_.weights_needed(parameter); };
  inputs.ready = [this](int parameter) { sync_.parameter_ready(parameter); };
  model_.forward_backward(batches, std::move(inputs));
  sync_.finish();
  sync_.wait_for_weights();
}

// Two microbatches: the first one's products write the gradients, those of the second add.
void Engine::rehearse() {
  if (device() == Device::cpu) return;
  Stream& stream = context().stream;
  Share some = share();
  some.end = std::min(some.end, some.begin + 2);
  model_.read(some, 0, {});
  backward_step(model_.inputs().send(0, stream), 0);
  stream.synchronize();
}

// This rank's microbatches, on their way to the device; `tokens` are those that it adds.
std::span<const TokenBatch> Engine::read_step(int64_t step, const ReadSample& read,
                                              double& tokens) {
  try {
    const auto batches = model_.read(share(), model_.options().global_batch, read);
    tokens = model_.counts() ? static_cast<double>(scored_tokens(batches)) : 0.0;
  } catch (const Error& problem) {
    // The step goes on with whatever is there, as the other ranks' exchanges need it; no samples
    // means valid padding.
    remarks_.note_failure(problem);
    model_.read(share(), 0, read);
  }
  return model_.inputs().send(step, context().stream);
}

void Engine::queue_step(int64_t step, double learning_rate, const ReadSample& read,
                        const std::function<bool()>& asks_to_stop) {
  set_current_step(step);
  InputRing::Numbers numbers;
  numbers.learning_rate = learning_rate;
  const auto batches = read_step(step, read, numbers.tokens);
  Stream& stream = context().stream;
  const auto send_numbers = [&]() -> const InputRing::DeviceNumbers& {
    numbers.remarks = remarks_.to_send(asks_to_stop && asks_to_stop());
    return model_.inputs().send(numbers, stream);
  };
  if (graph_.takes_next_step()) {
    replay_step(batches, step, send_numbers());
    averages_.take(step);
  } else {
    backward_step(batches, step);
    update(send_numbers());
    averages_.take(step);
    sync_.start_gathering_weights();
  }
  outcomes_.push(step, optimizer_.outcome(), stream);
}

// Weights that are still on their way from the step before would be waited for inside the graph,
// and the next step would wait for those that the graph gathers.
void Engine::replay_step(std::span<const TokenBatch> batches, int64_t step,
                         const InputRing::DeviceNumbers& numbers) {
  sync_.wait_for_weights();
  graph_.launch(step, context().stream, [&] {
    backward_step(batches, step);
    update(numbers);
    sync_.start_gathering_weights();
    sync_.wait_for_weights();
  });
}

void Engine::update(const InputRing::DeviceNumbers& numbers) {
  optimizer_.step({.loss = model_.counts() ? model_.stage().loss_sum() : Tensor(),
                   .tokens = model_.counts() ? numbers.tokens : Tensor(),
                   .remarks = numbers.remarks},
                  numbers.learning_rate);
}

Engine::StepResult Engine::finish_step() {
  const auto [step, outcome] = outcomes_.pop();
  remarks_.throw_failure(outcome);
  if (outcome.skipped && !optimizer_options_.scaling.dynamic) {
    ControlPlane& control = model_.mesh().world->control();
    stop_unless_finite("loss", step, outcome.loss, control);
    stop_unless_finite("gradient norm", step, outcome.gradient_norm, control);
  }
  return {.step = step,
          .loss = outcome.loss,
          .grad_norm = outcome.gradient_norm,
          .loss_scale = outcome.loss_scale,
          .skipped = outcome.skipped,
          .applied = outcome.applied,
          .stop = StepRemarks::asks_to_stop(outcome)};
}

void Engine::settle() { sync_.wait_for_weights(); }

// Not while an error unwinds: then another rank may be gone.
Engine::~Engine() {
  if (std::uncaught_exceptions() != exceptions_) return;
  try {
    settle();
  } catch (const std::exception& problem) {
    log::warning("weights were not gathered behind the last step: {}", problem.what());
  }
}

ModelRunner& Engine::model() {
  sync_.wait_for_weights();
  return model_;
}

// Checkpoints copy on streams of their own: what is queued here must be done.
SavedState& Engine::state() {
  sync_.wait_for_weights();
  context().stream.synchronize();
  return optimizer_.state();
}

Averages& Engine::averages() {
  sync_.wait_for_weights();
  context().stream.synchronize();
  return averages_;
}

void Engine::with_average(size_t average, const std::function<void(ModelRunner& model)>& body) {
  sync_.wait_for_weights();
  averages_.show(average);
  sync_.gather_weights();
  body(model_);
  averages_.restore();
  sync_.gather_weights();
}

void Engine::gather_after_load() {
  optimizer_.weights_from_master();
  sync_.gather_weights();
}

}  // namespace switchyard
