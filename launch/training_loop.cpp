#include "launch/training_loop.h"

#include <limits>
#include <utility>

#include "core/error.h"
#include "core/logging.h"
#include "core/stop_signal.h"
#include "launch/engine/score.h"
#include "launch/path/evaluation_sets.h"
#include "launch/path/retention.h"
#include "parallel/comm/communicators.h"
#include "parallel/comm/control_plane.h"

namespace switchyard {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

std::string lineage_document(const PathSpecification& path) {
  std::string text = "random start";
  for (const auto& e : path.lineage) {
    text += e.step == 0 ? fmt::format("\n{}@0 (weights of seed {})", e.path, path.seeds.initial())
                        : fmt::format("\n{}@{} (checkpoint {}, {} samples)", e.path, e.step,
                                      e.checkpoint, e.samples);
  }
  return text;
}

}  // namespace

int64_t last_step(const PathSpecification& path, const Settings& settings) {
  return settings.has("train-iters") ? settings.integer("train-iters") : path.decay_end();
}

std::string describe_reached(const PathSpecification& path, const Settings& settings,
                             int64_t step) {
  const int64_t last = last_step(path, settings);
  if (last == 0 || step < last) return "";
  const bool goes_on = last == path.decay_end() && path.learns_behind_end();
  return fmt::format(
      "step {} of {} is reached; nothing is left to do{}", step, last,
      goes_on ? fmt::format(" (--train-iters goes on at the rate {:.6g})", path.schedule.minimum)
              : "");
}

bool validates_behind(const PathSpecification& path, const Settings& settings, int64_t step) {
  const int64_t every = settings.integer("eval-interval"), last = last_step(path, settings);
  return every > 0 && (last == 0 || step / every < last / every);
}

namespace {

// The split's second part is not empty wherever it is to be scored.
void check_split(const PathSpecification& path, const Settings& settings, const TrainingData& data,
                 int64_t step) {
  if (!validates_behind(path, settings, step)) return;
  const int64_t consumed = path.samples_at(step), last = last_step(path, settings);
  for (const auto& stage : path.stages) {
    const int64_t sample = std::max(stage.first_sample, consumed);
    if (last > 0 && sample >= path.samples_at(last)) break;
    check(!data.validation_sources(sample).empty(), "train",
          "--eval-interval {}, but --split {} leaves no window for validation from sample {} on; "
          "give --valid-data-path, --eval-interval 0, or another --split to a new path",
          settings.text("eval-interval"), path.split.to_string(), sample);
  }
}

}  // namespace

std::vector<ValidationSource> open_validation(const PathSpecification& path,
                                              const Settings& settings, const TrainingData& data,
                                              int64_t step, ControlPlane& control,
                                              const std::string& hint) {
  if (!settings.has("valid-data-path")) {
    control.agree([&] { check_split(path, settings, data, step); });
    return {};
  }
  std::vector<DataSource> given;
  agree_with_hint(control, hint, [&] {  // words that mean nothing are refused where none is due
    given = parse_sources(settings.list("valid-data-path"), "valid-data-path");
  });
  if (!validates_behind(path, settings, step)) return {};
  std::vector<std::string> prefixes;
  for (const DataSource& source : given) prefixes.push_back(source.prefix);
  const auto sets = open_evaluation_data_once(path, prefixes, control, hint);
  std::vector<ValidationSource> sources;
  for (size_t i = 0; i < given.size(); ++i) sources.push_back(sets->source(i, given[i].weight));
  return sources;
}

TrainingLoop::TrainingLoop(const RunFolder& run, const PathSpecification& path,
                           const Settings& settings, const Mesh& mesh, Engine& engine,
                           const TrainingData& data, std::vector<ValidationSource> validation,
                           const StartRecord& start, const JobPeak& peak)
    : folder_(run),
      path_(path),
      settings_(settings),
      mesh_(mesh),
      engine_(engine),
      data_(data),
      start_(start),
      peak_(peak),
      last_step_(last_step(path, settings)),
      writer_(run.checkpoints(), *mesh.checkpoint),
      validation_(std::move(validation)) {}

TrainingLoop::~TrainingLoop() = default;

bool TrainingLoop::is_due(const char* interval, int64_t step) const {
  const int64_t every = settings_.integer(interval);
  return every > 0 && step % every == 0;
}

// Without an interval: the first and last step, and a line each second or so.
bool TrainingLoop::is_line_due(int64_t step) const {
  if (step == last_step_ || stop_) return true;
  if (settings_.has("log-interval")) return is_due("log-interval", step);
  return step == first_step_ + 1 || seconds_since(last_line_) >= 1;
}

bool TrainingLoop::is_pause(int64_t step) const {
  return step == last_step_ || is_due("eval-interval", step) || is_due("save-interval", step);
}

void TrainingLoop::queue_step(int64_t step) {
  const int64_t consumed = path_.samples_at(step - 1);
  engine_.queue_step(
      step, learning_rate(path_.schedule, step),
      [&](int64_t sample, std::span<int32_t> tokens, std::span<int32_t> targets) {
        data_.read(consumed + sample, tokens, targets);
      },
      StopSignal::requested);
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
  const auto result = outcome_in_time();
  stop_ = stop_ || result.stop;
  const double seconds = seconds_since(last_event_);
  last_event_ = Clock::now();
  if (result.step == first_step_ + 1) measure_memory();
  StepMetrics m;
  m.step = result.step;
  m.start = start_.number;
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
    m.loss_scale = {result.loss_scale, result.skipped, m.step - result.applied};
  }
  return m;
}

// Constant from the first step on, but for what a validation or a save adds.
void TrainingLoop::measure_memory() {
  auto most = static_cast<double>(memory_statistics().peak_bytes);
  Stream host;
  mesh_.world->all_reduce(std::span<double>(&most, 1), ReduceOp::max, host, {"most memory"})
      .wait(host);
  memory_bytes_ = static_cast<int64_t>(most);
}

// Sets are scored one after the other; the mean is that over all tokens of the sample. The split's
// second part is that of the stage that was read last: the next one may never be.
void TrainingLoop::validate(StepMetrics& m) {
  const int64_t batches = settings_.integer("eval-iters");
  const int64_t batch = path_.global_batch();
  constexpr auto most = std::numeric_limits<int64_t>::max();
  const ValidationSample sample(
      validation_.empty() ? data_.validation_sources(path_.samples_at(m.step) - 1) : validation_,
      batches > most / batch ? most : batches * batch, path_.sequence_length());
  Score all;
  for (size_t set = 0; set < sample.sets(); ++set) {
    const Score one =
        score(engine_.model(), sample.samples(set),
              [&](int64_t number, std::span<int32_t> tokens, std::span<int32_t> targets) {
                sample.read(set, number, tokens, targets);
              });
    m.validation_losses.push_back(
        {sample.name(set), sample.samples(set), one.loss_sum / static_cast<double>(one.tokens)});
    all.loss_sum += one.loss_sum;
    all.tokens += one.tokens;
  }
  m.validation_loss = all.loss_sum / static_cast<double>(all.tokens);
}

void TrainingLoop::save(const StepMetrics& m) {
  const auto begin = Clock::now();
  CheckpointInfo info;
  info.step = m.step;
  info.samples = m.samples;
  info.loss = m.loss;
  info.documents = {{"specification", path_.to_json()},
                    {"lineage", lineage_document(path_)},
                    {"model", path_.model.to_json()}};
  const auto state = engine_.state().tensors(StateUse::save);
  const auto retain = [&] {
    if (mesh_.world->rank() == 0) retain_latest(folder_, settings_.integer("keep-checkpoints"));
  };
  mesh_.world->control().agree(retain);  // of a start that keeps fewer; a disk may be full
  mesh_.world->control().agree([&] { writer_.stage(info, state); });
  mesh_.world->control().agree([&] { writer_.commit(); });
  mesh_.world->control().agree(retain);
  if (mesh_.world->rank() == 0) {
    log::info("saved step {} in {:.1f} s", m.step, seconds_since(begin));
  }
}

void TrainingLoop::save_origin(const CheckpointInfo& loaded) {
  StepMetrics m;
  m.step = loaded.step;
  m.samples = loaded.samples;
  m.loss = loaded.loss;
  save(m);
}

// A record or log that cannot be written is told to the other ranks with the next step.
void TrainingLoop::report(const StepMetrics& m) {
  try {
    if (log_ && m.step == first_step_ + 1) append_start(folder_.folder(), start_);
    if (log_) log_->write(m);
  } catch (const Error& problem) {
    engine_.remarks().note_failure(problem);
  }
  if (mesh_.world->rank() == 0) show(m);
}

void TrainingLoop::show(const StepMetrics& m) {
  if (is_line_due(m.step) || m.validation_loss) {
    last_line_ = Clock::now();
    const double each = seconds_since(begin_) / static_cast<double>(m.step - first_step_);
    log::info("{}", console_line(m, last_step_, each * static_cast<double>(last_step_ - m.step)));
  }
  for (const auto& line : {loss_scale_line(m), validation_line(m)}) {
    if (!line.empty()) log::info("{}", line);
  }
}

ExitCode TrainingLoop::run() {
  const bool leads = mesh_.world->rank() == 0;
  const int64_t step = start_.step;
  mesh_.world->control().agree([&] {
    if (leads) log_ = std::make_unique<MetricsLog>(folder_.folder(), step);
  });
  if (const auto reached = describe_reached(path_, settings_, step); !reached.empty()) {
    if (leads) log::info("{}", reached);
    return ExitCode::reached;
  }
  begin_ = last_event_ = Clock::now();
  first_step_ = step;
  try {
    begin_work();
    return run_steps(step);
  } catch (const AgreedError&) {
    engine_.settle();  // every rank is here, and none may free weights that another still reads
    throw;
  }
}

ExitCode TrainingLoop::run_steps(int64_t step) {
  const bool leads = mesh_.world->rank() == 0;
  const int64_t run_ahead = engine_.device() == Device::cuda ? 1 : 0;
  for (;;) {
    queue_step(++step);
    StepMetrics last;
    while (engine_.unfinished_steps() > (stop_ || is_pause(step) ? 0 : run_ahead)) {
      last = finish_step();
      if (last.step == step && is_due("eval-interval", step)) validate(last);
      report(last);
      stop_unless_finite("validation loss", last.step, last.validation_loss.value_or(0),
                         mesh_.world->control());
    }
    if (last.step != step) continue;
    const bool ends = stop_ || step == last_step_;
    if (!ends && !is_pause(step)) continue;
    engine_.remarks().agree_on_failures();
    if (ends || is_due("save-interval", step)) save(last);
    if (step == last_step_) return ExitCode::reached;
    if (stop_ && leads) log::info("stopping after step {}, as a signal asked", step);
    if (stop_) return ExitCode::stopped;
    measure_memory();
    last_event_ = Clock::now();
  }
}

}  // namespace switchyard
