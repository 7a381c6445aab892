#include "launch/training_log.h"

#include "core/error.h"
#include "core/logging.h"
#include "parallel/comm/control_plane.h"

namespace switchyard {

namespace {

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// The path's own step that reads the sample.
int64_t step_of(const PathSpecification& path, int64_t sample) {
  return path.start_step() + 1 + (sample - path.start_samples()) / path.global_batch();
}

}  // namespace

std::string describe(const BegunEpochs& epochs, const PathSpecification& path) {
  if (epochs.first == epochs.last)
    return fmt::format(
        "data: {} reads epoch {} of its {} training windows, in a new order (stage {})",
        epochs.prefix, epochs.first + 1, epochs.windows, epochs.stage);
  return fmt::format(
      "data: {} began {} epochs of its {} training windows, {} to {}, in steps {} to {} (stage {})",
      epochs.prefix, epochs.last - epochs.first + 1, epochs.windows, epochs.first + 1,
      epochs.last + 1, step_of(path, epochs.first_sample), step_of(path, epochs.last_sample),
      epochs.stage);
}

TrainingLog::TrainingLog(const RunFolder& run, const PathSpecification& path, const Start& start,
                         const Mesh& mesh, int64_t last_step)
    : folder_(run),
      path_(path),
      start_(start),
      settings_(start.record.run),
      mesh_(mesh),
      last_step_(last_step) {}

TrainingLog::~TrainingLog() { tell_epochs(); }

void TrainingLog::open() {
  mesh_.world->control().agree([&] {
    if (mesh_.world->rank() != 0) return;
    folder_.check_held();
    log_ = std::make_unique<MetricsLog>(folder_.folder(), start_.step, path_.start_step());
    if (!log_->loss().empty()) log::warning("{}", log_->loss());
    if (!log_->redone().empty()) log::warning("{}", log_->redone());
    const auto events = event_folder(folder_.folder(), settings_);
    if (events) tensorboard_.emplace(*events, start_.step);
  });
}

void TrainingLog::begin() { begin_ = std::chrono::steady_clock::now(); }

// A record or log that cannot be written is told to the other ranks with the next step.
void TrainingLog::write(const StepMetrics& m, bool ends, StepRemarks& remarks) {
  try {
    if (log_) folder_.check_held();
    if (log_ && m.step == start_.step + 1) append_start(folder_.folder(), start_.record);
    if (log_) log_->write(m);
    if (tensorboard_) tensorboard_->write(m);
  } catch (const Error& problem) {
    remarks.note_failure(problem);
  }
  if (mesh_.world->rank() == 0 && shows_lines_) show(m, ends);
}

// Without an interval: the first and last step, and a line each second or so.
bool TrainingLog::is_line_due(int64_t step, bool ends) const {
  if (ends) return true;
  if (settings_.has("log-interval")) return step % settings_.integer("log-interval") == 0;
  return step == start_.step + 1 || seconds_since(last_line_) >= 1;
}

void TrainingLog::show(const StepMetrics& m, bool ends) {
  if (is_line_due(m.step, ends) || m.validation_loss) {
    tell_epochs();
    last_line_ = std::chrono::steady_clock::now();
    const double each = seconds_since(begin_) / static_cast<double>(m.step - start_.step);
    log::info("{}", console_line(m, last_step_, each * static_cast<double>(last_step_ - m.step)));
  }
  for (const auto& line : {loss_scale_line(m), validation_line(m), averages_line(m)}) {
    if (!line.empty()) log::info("{}", line);
  }
}

void TrainingLog::tell_epochs() {
  if (mesh_.world->rank() != 0 || !shows_lines_) return;
  for (const BegunEpochs& epochs : start_.data->take_epochs())
    log::info("{}", describe(epochs, path_));
}

}  // namespace switchyard
