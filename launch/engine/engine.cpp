#include "launch/engine/engine.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/logging.h"
#include "parallel/comm/control_plane.h"
#include "parallel/pipeline/schedule.h"

namespace switchyard {

namespace {

FlatBuffers::Options buffer_options(const EngineOptions& o, const Mesh& mesh) {
  FlatBuffers::Options options;
  options.dp = mesh.layout.dp;
  options.dp_rank = mesh.place.dp;
  options.dtype = o.dtype;
  options.gradients = o.training;
  options.device = o.device;
  return options;
}

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

// What the numbers that go with a step's sums mean. All ranks have to know of these behind the same
// step, and an exchange of the control plane in each step would make it wait.
enum Remark { stop_remark, failure_remark };

int64_t scored_tokens(std::span<const TokenBatch> batches) {
  int64_t count = 0;
  for (const TokenBatch& batch : batches) {
    count += std::ranges::count_if(batch.targets.span<int32_t>(), [](int32_t t) { return t >= 0; });
  }
  return count;
}

}  // namespace

Engine::Engine(const EngineOptions& options, const Mesh& mesh)
    : options_(options),
      mesh_(mesh),
      stream_(options.device),
      graph_(options.cuda_graph, stream_),
      scratch_(options.device),
      slots_(activation_slots(options, mesh.layout, mesh.place)),
      stage_(options.model, mesh, stage_options(options, slots_), {stream_, scratch_}),
      buffers_(stage_.parameters(), buffer_options(options, mesh)),
      executor_(mesh, stage_.exchanged(), options.dtype, slots_, stream_),
      inputs_({options.micro_batch, options.sequence_length},
              held_microbatches(options, mesh.layout), options.device),
      outcomes_(options.device,
                options.cuda_graph ? options.step_limit : std::chrono::milliseconds(0)) {
  options_.optimizer = optimizer_options(options);
  if (!options.training) return;
  sync_ = std::make_unique<GradientSync>(buffers_, mesh, context());
  optimizer_ =
      std::make_unique<DistributedOptimizer>(buffers_, mesh, options_.optimizer, context());
}

void Engine::initialize(uint64_t seed) {
  stage_.initialize(seed);
  if (optimizer_) optimizer_->adopt_weights();
}

// Samples behind the last one are padding whose targets do not count.
void Engine::read_microbatch(TokenBatch& batch, int64_t samples, const ReadSample& read) const {
  const auto length = static_cast<size_t>(options_.sequence_length);
  for (int64_t i = 0; i < options_.micro_batch; ++i) {
    const auto offset = static_cast<size_t>(i) * length;
    const auto tokens = batch.tokens.span<int32_t>().subspan(offset, length);
    const auto targets = batch.targets.span<int32_t>().subspan(offset, length);
    if (batch.first_sample + i < samples) {
      read(batch.first_sample + i, tokens, targets);
      check_tokens(tokens, "tokens", 0, options_.model.vocabulary);
      check_tokens(targets, "targets", -1, options_.model.vocabulary);
    } else {
      std::ranges::fill(tokens, 0);
      std::ranges::fill(targets, -1);
    }
  }
}

// The first stage embeds tokens, the last one is held against targets; those between need neither.
std::span<TokenBatch> Engine::read_microbatches(Share share, int64_t samples,
                                                const ReadSample& read) {
  const auto batches = inputs_.next(share.end - share.begin);
  if (!mesh_.first_stage() && !mesh_.last_stage()) samples = 0;  // padding
  for (int64_t m = share.begin; m < share.end; ++m) {
    auto& batch = batches[static_cast<size_t>(m - share.begin)];
    batch.first_sample = m * options_.micro_batch;
    read_microbatch(batch, samples, read);
  }
  return batches;
}

void Engine::run(std::span<const TokenBatch> batches, bool forward_only) {
  const int count = static_cast<int>(batches.size());
  if (count == 0) return;
  const auto actions = forward_only ? schedule_forward_only(mesh_.layout.pp, count, mesh_.place.pp)
                                    : schedule_1f1b(mesh_.layout.pp, count, mesh_.place.pp);
  executor_.run(actions, stage_);
}

Engine::Score Engine::sum_over_ranks(double loss_sum, int64_t tokens) {
  double sums[2] = {counts() ? loss_sum : 0.0, counts() ? static_cast<double>(tokens) : 0.0};
  Stream host;
  mesh_.world->all_reduce(std::span<double>(sums), ReduceOp::sum, host, {"sum of losses"})
      .wait(host);
  return {sums[0], static_cast<int64_t>(sums[1])};
}

double Engine::read_loss_sum() {
  double sum = 0;
  copy_bytes(&sum, stage_.loss_sum().data, sizeof sum, stream_);
  stream_.synchronize();
  return sum;
}

// Every rank has the same value, so that all meet the error at once.
void Engine::stop_unless_finite(const char* what, int64_t step, double value) {
  if (std::isfinite(value)) return;
  mesh_.world->control().agree([&] {
    fail(ExitCode::non_finite, "train", "the {} of step {} is {}; nothing of this step was saved",
         what, step,
         std::isnan(value) ? std::abs(value) : value);  // the sign of no number means nothing
  });
}

void Engine::note_failure(const Error& problem) {
  if (!failure_) failure_ = problem;
}

void Engine::agree_on_failures() {
  mesh_.world->control().agree([&] {
    if (failure_) throw Error(*failure_);
  });
}

// Forward and backward passes, and the sums of the gradients over the ranks.
void Engine::backward_step(std::span<const TokenBatch> batches, int64_t step) {
  sync_->begin_step();
  StepInputs inputs;
  inputs.step = step;
  inputs.step_on_device = inputs_.step_on_device();
  inputs.gradient_scale.multiplier = static_cast<float>(options_.optimizer.multiplier);
  if (options_.optimizer.scaling.dynamic) {
    inputs.gradient_scale.loss_scale = optimizer_->loss_scale();
  }
  inputs.needed = [this](int parameter) { sync_->weights_needed(parameter); };
  inputs.ready = [this](int parameter) { sync_->parameter_ready(parameter); };
  stage_.begin(batches, std::move(inputs));
  run(batches, false);
  sync_->finish();
  sync_->wait_for_weights();
}

// Two microbatches: the first one's products write the gradients, those of the second add.
void Engine::rehearse() {
  if (options_.device == Device::cpu) return;
  Share share =
      share_of(options_.global_batch / options_.micro_batch, mesh_.layout.dp, mesh_.place.dp);
  share.end = std::min(share.end, share.begin + 2);
  read_microbatches(share, 0, {});
  backward_step(inputs_.send(0, stream_), 0);
  stream_.synchronize();
}

void Engine::queue_step(int64_t step, double learning_rate, const ReadSample& read,
                        const std::function<bool()>& asks_to_stop) {
  set_current_step(step);
  const auto share =
      share_of(options_.global_batch / options_.micro_batch, mesh_.layout.dp, mesh_.place.dp);
  InputRing::Numbers numbers;
  numbers.learning_rate = learning_rate;
  try {
    const auto batches = read_microbatches(share, options_.global_batch, read);
    numbers.tokens = counts() ? static_cast<double>(scored_tokens(batches)) : 0.0;
  } catch (const Error& problem) {
    // The step goes on with whatever is there, as the other ranks' exchanges need it; no samples
    // means valid padding.
    note_failure(problem);
    read_microbatches(share, 0, read);
  }
  const auto send_numbers = [&]() -> const InputRing::DeviceNumbers& {
    numbers.remarks[stop_remark] = asks_to_stop && asks_to_stop() ? 1 : 0;
    numbers.remarks[failure_remark] = failure_ ? 1 : 0;
    return inputs_.send(numbers, stream_);
  };
  const auto batches = inputs_.send(step, stream_);
  if (graph_.takes_next_step()) {
    replay_step(batches, step, send_numbers());
  } else {
    backward_step(batches, step);
    update(send_numbers());
  }
  outcomes_.push(step, optimizer_->outcome(), stream_);
}

// Weights that are still on their way from the step before would be waited for inside the graph,
// and the next step would wait for those that the graph gathers.
void Engine::replay_step(std::span<const TokenBatch> batches, int64_t step,
                         const InputRing::DeviceNumbers& numbers) {
  sync_->wait_for_weights();
  graph_.launch(step, [&] {
    backward_step(batches, step);
    update(numbers);
    sync_->wait_for_weights();
  });
}

void Engine::update(const InputRing::DeviceNumbers& numbers) {
  optimizer_->step({.loss = counts() ? stage_.loss_sum() : Tensor(),
                    .tokens = counts() ? numbers.tokens : Tensor(),
                    .remarks = numbers.remarks},
                   numbers.learning_rate);
  sync_->start_gathering_weights();
}

void Engine::settle() {
  if (sync_) sync_->wait_for_weights();
}

// Not while an error unwinds: then another rank may be gone.
Engine::~Engine() {
  if (std::uncaught_exceptions() != exceptions_) return;
  try {
    settle();
  } catch (const std::exception& problem) {
    log::warning("weights were not gathered behind the last step: {}", problem.what());
  }
}

Engine::StepResult Engine::finish_step() {
  const auto [step, outcome] = outcomes_.pop();
  if (outcome.remarks[failure_remark] > 0) agree_on_failures();
  if (outcome.skipped && !options_.optimizer.scaling.dynamic) {
    stop_unless_finite("loss", step, outcome.loss);
    stop_unless_finite("gradient norm", step, outcome.gradient_norm);
  }
  return {.step = step,
          .loss = outcome.loss,
          .grad_norm = outcome.gradient_norm,
          .loss_scale = outcome.loss_scale,
          .skipped = outcome.skipped,
          .applied = outcome.applied,
          .stop = outcome.remarks[stop_remark] > 0};
}

Engine::StepResult Engine::train_step(int64_t step, double learning_rate, const ReadSample& read) {
  queue_step(step, learning_rate, read);
  return finish_step();
}

GptStage& Engine::stage() {
  if (sync_) sync_->wait_for_weights();
  return stage_;
}

Engine::Score Engine::score(int64_t samples, const ReadSample& read) {
  if (sync_) sync_->wait_for_weights();
  const int64_t count = (samples + options_.micro_batch - 1) / options_.micro_batch;
  const Share share = share_of(count, mesh_.layout.dp, mesh_.place.dp);
  // As many rounds on every rank, though some have nothing left to do in the last: they agree.
  const Share largest = share_of(count, mesh_.layout.dp, 0);
  Score mine;
  for (int64_t done = 0; done < largest.end; done += evaluation_run) {
    const int64_t begin = std::min(share.begin + done, share.end);
    const Share part{begin, std::min(begin + evaluation_run, share.end)};
    std::span<TokenBatch> batches;
    mesh_.world->control().agree([&] { batches = read_microbatches(part, samples, read); });
    if (batches.empty()) continue;
    mine.tokens += scored_tokens(batches);
    const auto sent = inputs_.send(0, stream_);
    stage_.begin_evaluation(sent);
    run(sent, true);
    mine.loss_sum += read_loss_sum();
  }
  return sum_over_ranks(mine.loss_sum, mine.tokens);
}

}  // namespace switchyard
