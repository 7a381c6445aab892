#include "launch/training_loop.h"

#include <algorithm>
#include <array>
#include <utility>

#include "core/error.h"
#include "core/logging.h"
#include "launch/engine/replica_check.h"
#include "launch/path/goal.h"
#include "launch/validation.h"
#include "parallel/comm/communicators.h"
#include "parallel/comm/control_plane.h"

namespace switchyard {

namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* replica_check_interval = "check-weight-hash-across-dp-replicas-interval";

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

}  // namespace

TrainingLoop::TrainingLoop(const RunFolder& run, const PathSpecification& path, const Start& start,
                           const Mesh& mesh, const JobPeak& peak, Engine& engine, Saver& saver,
                           HealthCheck* health)
    : folder_(run),
      path_(path),
      start_(start),
      settings_(start.record.run),
      mesh_(mesh),
      peak_(peak),
      engine_(engine),
      saver_(saver),
      health_(health),
      last_step_(last_step(path, settings_)),
      exit_(settings_, mesh.world->rank() == 0),
      log_(run, path, start, mesh, last_step_),
      stragglers_(settings_.integer("log-stragglers"), mesh, engine.device()),
      watch_(path) {}

TrainingLoop::~TrainingLoop() = default;

bool TrainingLoop::is_due(const char* interval, int64_t step) const {
  const int64_t every = settings_.integer(interval);
  return every > 0 && step % every == 0;
}

bool TrainingLoop::is_pause(int64_t step) const {
  if (step == last_step_ || exit_.is_due(step)) return true;
  return std::ranges::any_of(
      std::array{"eval-interval", "save-interval", replica_check_interval, "health-check-interval"},
      [&](const char* interval) { return is_due(interval, step); });
}

void TrainingLoop::queue_step(int64_t step) {
  const int64_t consumed = path_.samples_at(step - 1);
  stragglers_.begin_step();
  engine_.queue_step(
      step, learning_rate(path_.schedule, step),
      [&](int64_t sample, std::span<int32_t> tokens, std::span<int32_t> targets) {
        stragglers_.time_reading([&] { start_.data->read(consumed + sample, tokens, targets); });
      },
      [this] { return exit_.asks() || saver_.failed(); });
  stragglers_.end_step();
}

// Freeing what the engine holds would wait for a device that does not answer: the job ends here.
Engine::StepResult TrainingLoop::outcome_in_time() {
  try {
    return engine_.finish_step();
  } catch (const OverdueStep& problem) {
    end_job(static_cast<int>(print_error(problem)));
  }
}

// Steps follow each other without a gap, so one lasts from the end of the step before to its own.
StepMetrics TrainingLoop::finish_step() {
  ++judged_step_;
  const auto result = outcome_in_time();
  stop_ = stop_ || result.stop;
  const double seconds = seconds_since(last_event_);
  last_event_ = Clock::now();
  stragglers_.finish_step(result.step, seconds);
  if (result.step == first_step_ + 1) measure_memory();
  StepMetrics m;
  m.step = result.step;
  m.ended = std::chrono::system_clock::now();
  m.start = start_.record.number;
  m.learning_rate = learning_rate(path_.schedule, m.step);
  m.loss = result.loss;
  m.grad_norm = result.grad_norm;
  m.samples = path_.samples_at(m.step);
  m.tokens = path_.tokens_at(m.step);
  const auto tokens = static_cast<double>(path_.global_batch() * path_.sequence_length());
  m.milliseconds = 1e3 * seconds;
  m.tokens_per_second = tokens / seconds;
  m.gflops =
      path_.model.causal_flops_per_token(path_.sequence_length()) * m.tokens_per_second / 1e9;
  m.peak = peak_;
  m.memory_bytes = memory_bytes_;
  if (path_.dtype() == DType::f16) {
    m.loss_scale = {result.loss_scale, result.skipped,
                    m.step - path_.counted_from() - result.applied};
  }
  return m;
}

// Constant from the second step on, but for what a validation or a save's averages add.
void TrainingLoop::measure_memory() {
  auto most = static_cast<double>(memory_statistics().peak_bytes);
  Stream host;
  mesh_.world->all_reduce(std::span<double>(&most, 1), ReduceOp::max, host, {"most memory"})
      .wait(host);
  memory_bytes_ = static_cast<int64_t>(most);
}

// A long validation must not outlast the time that a scheduler leaves between signal and end.
void TrainingLoop::add_validation(StepMetrics& m) {
  if (add_losses(m)) return;
  m.validation_loss.reset();
  m.validation_losses.clear();
  m.validation_averages.clear();
  stop_ = true;
  if (mesh_.world->rank() == 0)
    log::info("the validation behind step {} is broken off, as a signal asked, and not logged",
              m.step);
}

bool TrainingLoop::add_losses(StepMetrics& m) {
  const auto losses_of = [&](ModelRunner& model) {
    return validate(path_, settings_, *start_.data, start_.validation, m.step, model);
  };
  auto losses = losses_of(engine_.model());
  if (!losses) return false;
  m.validation_loss = losses->mean;
  m.validation_losses = std::move(losses->sets);
  const Averages& averages = engine_.averages();
  for (size_t i = 0; i < averages.size(); ++i) {
    if (!averages.has_value(i)) continue;
    engine_.with_average(i, [&](ModelRunner& model) { losses = losses_of(model); });
    if (!losses) return false;
    m.validation_averages.push_back(
        {averages.record(i).spec.name, losses->mean, std::move(losses->sets)});
  }
  return true;
}

// The step has changed the weights, so that it must not be saved; every rank sees the same losses.
void TrainingLoop::stop_at_spike(int64_t step, const Spike& spike) {
  const std::string what = describe(path_, step, spike);
  if (settings_.text("on-spike") == "warn") {
    if (mesh_.world->rank() == 0) log::warning("{}", what);
    return;
  }
  mesh_.world->control().agree([&] {
    fail(ExitCode::non_finite, "train",
         "{}; nothing of this step was saved (--on-spike stop; 'warn' goes on)", what);
  });
}

// What helps where a step came to nothing good.
void TrainingLoop::show_rescue() const {
  const auto commands = rescue_commands(folder_, path_, judged_step_);
  if (!commands.empty()) log::info("{}", commands);
}

ExitCode TrainingLoop::run() {
  const bool leads = mesh_.world->rank() == 0;
  const int64_t step = start_.step;
  log_.open();
  if (const auto reached = describe_reached(path_, settings_, step); !reached.empty()) {
    if (leads) log::info("{}", reached);
    return ExitCode::reached;
  }
  std::string losses;
  mesh_.world->control().agree([&] {
    if (leads) losses = recorded_losses(folder_, step);
  });
  add_recorded(watch_, mesh_.world->control().broadcast(losses, "the losses so far"));
  log_.begin();
  last_event_ = Clock::now();
  first_step_ = judged_step_ = saved_step_ = step;
  try {
    begin_work();
    const ExitCode code = run_steps(step);
    saver_.finish();
    return code;
  } catch (const AgreedError& problem) {
    log_.end_lines();
    engine_.settle();  // every rank is here, and none may free weights that another still reads
    finish_saving();
    if (leads && problem.code() == ExitCode::non_finite) show_rescue();
    throw;
  } catch (const std::exception& problem) {
    // Other ranks are not here, without which a save does not end.
    if (saver_.busy()) end_job(static_cast<int>(print_error(problem)));
    throw;
  }
}

// Behind an error that counts more than what becomes of the save.
void TrainingLoop::finish_saving() {
  try {
    saver_.finish();
  } catch (const AgreedError&) {  // it is printed
  }
}

// What differs is not saved.
void TrainingLoop::look_at_replicas(int64_t step) {
  if (settings_.integer(replica_check_interval) == 0) return;
  check_replicas(engine_, step,
                 fmt::format("nothing of it is saved; 'replay {}@{}:{}' tells whether the fault is "
                             "transient (docs/paths.md)",
                             folder_.folder().string(), saved_step_ + 1, step));
}

void TrainingLoop::save(const StepMetrics& m) {
  saver_.save(m.step, m.samples, m.loss, engine_);
  saved_step_ = m.step;
}

ExitCode TrainingLoop::end_early(int64_t step) {
  if (mesh_.world->rank() == 0) log::info("stopping after step {}, {}", step, exit_.reason(step));
  return ExitCode::stopped;
}

ExitCode TrainingLoop::run_steps(int64_t step) {
  const int64_t run_ahead = engine_.device() == Device::cuda ? 1 : 0;
  for (;;) {
    queue_step(++step);
    StepMetrics last;
    while (engine_.unfinished_steps() > (stop_ || is_pause(step) ? 0 : run_ahead)) {
      last = finish_step();
      const auto spike = watch_.add(last.step, last.loss);
      last.spike = spike.has_value();
      if (last.step == step && is_due("eval-interval", step)) add_validation(last);
      if (saver_.failed()) log_.end_lines();
      log_.write(last, stop_ || last.step == last_step_ || exit_.is_due(last.step),
                 engine_.remarks());
      if (spike) stop_at_spike(last.step, *spike);
      if (last.step == first_step_ + 1) {  // all else has its memory now
        saver_.prepare(engine_);
        measure_memory();
        last_event_ = Clock::now();
      }
      stop_unless_finite("validation loss", last.step, last.validation_loss.value_or(0),
                         mesh_.world->control());
    }
    if (last.step != step) continue;
    const bool ends = stop_ || exit_.is_due(step) || step == last_step_;
    if (!ends && !is_pause(step)) continue;
    engine_.remarks().agree_on_failures();
    const bool saves = ends || is_due("save-interval", step);
    if (saves || is_due(replica_check_interval, step)) look_at_replicas(step);
    if (saves) save(last);
    if (step == last_step_) return ExitCode::reached;
    if (ends) return end_early(step);
    // What came during a validation or a save need not wait for another step.
    stop_ = mesh_.world->control().agree_and_ask([] {}, [&] { return exit_.asks(); });
    if (stop_ && !saves) {
      look_at_replicas(step);
      save(last);
    }
    if (stop_) return end_early(step);
    if (is_due("health-check-interval", step)) {
      saver_.finish();  // which takes of the rates that are measured
      health_->run();
    }
    measure_memory();
    last_event_ = Clock::now();
  }
}

}  // namespace switchyard
