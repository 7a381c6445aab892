#include "launch/metrics.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "data/progress.h"
#include "launch/path/average_members.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

constexpr const char* mfu_formula = "causal: (6 N + 6 L C T) tokens / seconds / peak";

// The step of a line; -1 for a line that is not whole.
int64_t step_of(const std::string& line) {
  const auto parsed = parse_json_or_discard(line);
  return parsed.is_object() ? parsed.value("step", int64_t{-1}) : -1;
}

// Appends whole lines, on a line of their own even where the one before was cut short.
void append_lines(const fs::path& file, const std::string& lines) {
  const bool torn = fs::exists(file) && !read_file(file).ends_with('\n') && fs::file_size(file) > 0;
  std::ofstream stream(file, std::ios::app);
  stream << (torn ? "\n" : "") << lines << std::flush;
  check(stream.good(), "metrics", "{} cannot be written", file.string());
}

// All of it or, as on a full disk, nothing.
void append_whole(const Descriptor& open, const std::string& text, const fs::path& file) {
  const off_t end = lseek(open.number(), 0, SEEK_END);
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t written = ::write(open.number(), text.data() + done, text.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) break;
    done += static_cast<size_t>(written);
  }
  if (done == text.size()) return;
  const int why = errno;
  const bool taken_back = end >= 0 && ftruncate(open.number(), end) == 0;
  fail(ExitCode::storage, "metrics", "{} cannot be written: {}{}", file.string(),
       std::strerror(why), taken_back ? "" : "; its last line may be torn");
}

// A file that is not there has no lines.
void sync_lines(const fs::path& file) {
  const Descriptor open(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  const bool synced = open ? fsync(open.number()) == 0 : errno == ENOENT;
  check(synced, ExitCode::storage, "metrics", "{} cannot be brought to the disk: {}", file.string(),
        std::strerror(errno));
}

// Which steps behind one, up to another, have lines.
class LinesThere {
 public:
  LinesThere(int64_t before, int64_t last)
      : before_(before), there_(static_cast<size_t>(std::max<int64_t>(0, last - before))) {}
  void add(int64_t step) {  // -1: of a line that is not whole
    is_cut_within_ |= is_cut_ && step >= 0;
    is_cut_ |= step < 0;
    if (step > before_) there_[static_cast<size_t>(step - before_ - 1)] = true;
  }
  std::vector<int64_t> lost() const {
    std::vector<int64_t> steps;
    if (there_.empty() || (there_.back() && !is_cut_within_)) return steps;
    for (size_t i = 0; i < there_.size(); ++i)
      if (!there_[i]) steps.push_back(before_ + 1 + static_cast<int64_t>(i));
    return steps;
  }

 private:
  const int64_t before_;
  std::vector<bool> there_;
  bool is_cut_ = false;         // a line
  bool is_cut_within_ = false;  // a line that whole ones follow
};

std::string describe_loss(const fs::path& file, const LinesThere& lines, int64_t step) {
  const auto lost = lines.lost();
  if (lost.empty()) return "";
  return fmt::format("{} has no whole {} of {} {}, though step {} is saved: lines were lost",
                     file.string(), lost.size() == 1 ? "line" : "lines",
                     lost.size() == 1 ? "step" : "the steps", show_steps(lost), step);
}

std::string describe_redone(const fs::path& file, int64_t step, int64_t last) {
  if (last <= step) return "";
  return fmt::format("{} has lines up to step {}, and this start goes on from step {}: {} {} again",
                     file.string(), last, step, last - step,
                     last - step == 1 ? "step is made" : "steps are made");
}

// Returns the last step that had a line. What is kept ends with a newline, so that the next step
// has a line of its own.
int64_t discard_behind(const fs::path& run, const fs::path& file, int64_t step, LinesThere& there) {
  if (!fs::exists(file)) return -1;
  const std::string before = read_file(file);
  std::istringstream lines(before);
  std::string kept, discarded;
  int64_t last = -1;
  for (std::string line; std::getline(lines, line);) {
    const int64_t its_step = step_of(line);
    const bool is_kept = its_step >= 0 && its_step <= step;
    last = std::max(last, its_step);
    (is_kept ? kept : discarded) += line + '\n';
    if (is_kept || its_step < 0) there.add(its_step);
  }
  if (!discarded.empty()) {
    const fs::path given_up = run / "metrics.discarded.jsonl";
    append_lines(given_up, discarded);
    sync_lines(given_up);  // before they go here
    const auto problem = sync_folder(run);
    check(!problem, ExitCode::storage, "metrics", "{} cannot be brought to the disk: {}",
          given_up.string(), problem.message());
  }
  if (kept != before) write_file_atomically(file, kept);
  return last;
}

}  // namespace

void sync_metrics(const fs::path& run) { sync_lines(run / "metrics.jsonl"); }

double mfu_of(const StepMetrics& m) { return 1e9 * m.gflops / m.peak.flops; }

MetricsLog::MetricsLog(const fs::path& run, int64_t step, std::optional<int64_t> before)
    : file_(run / "metrics.jsonl") {
  LinesThere there(before.value_or(step), step);
  redone_ = describe_redone(file_, step, discard_behind(run, file_, step, there));
  loss_ = describe_loss(file_, there, step);
  open_ = Descriptor(::open(file_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666));
  check(static_cast<bool>(open_), ExitCode::storage, "metrics", "{} cannot be opened: {}",
        file_.string(), std::strerror(errno));
}

void MetricsLog::write(const StepMetrics& m) {
  Json line = {{"step", m.step},
               {"start", m.start},
               {"loss", m.loss},
               {"learning_rate", m.learning_rate},
               {"grad_norm", m.grad_norm},
               {"samples", m.samples},
               {"tokens", m.tokens},
               {"tokens_per_second", m.tokens_per_second},
               {"gflops", m.gflops},
               {"milliseconds", m.milliseconds},
               {"memory_bytes", m.memory_bytes}};
  if (m.peak.flops > 0) {
    line["mfu"] = mfu_of(m);
    line["mfu_formula"] = mfu_formula;
    line["peak"] = m.peak.dense ? "dense" : "measured";
    line["peak_gflops"] = m.peak.flops / 1e9;
  }
  if (m.validation_loss) line["validation_loss"] = *m.validation_loss;
  for (const auto& each : m.validation_losses) line["validation_losses"][each.set] = each.loss;
  for (const auto& each : m.validation_averages) {
    Json& average = line["validation_averages"][each.average];
    average["loss"] = each.loss;
    for (const auto& set : each.sets) average["losses"][set.set] = set.loss;
  }
  if (m.loss_scale) {
    line["loss_scale"] = m.loss_scale->scale;
    line["skipped"] = m.loss_scale->skipped;
    line["skipped_steps"] = m.loss_scale->skipped_steps;
  }
  if (m.spike) line["spike"] = true;
  append_whole(open_, json_text(line) + '\n', file_);
}

namespace {

// Where fp16 has overflowed the norm is infinite or no number, whose sign means nothing.
std::string show_norm(double norm) {
  return std::isfinite(norm) ? fmt::format("{:.3g}", norm) : "not finite";
}

std::string show_count(double count) {
  if (count < 1e4) return fmt::format("{:.0f}", count);
  return count < 1e6 ? fmt::format("{:.3g}k", count / 1e3) : fmt::format("{:.3g}M", count / 1e6);
}

std::string show_speed(const StepMetrics& m) {
  if (m.peak.flops > 0) return fmt::format("mfu {:.1f}%", 100 * mfu_of(m));
  if (m.gflops < 1e3) return fmt::format("{:.3g} GFLOP/s", m.gflops);
  return m.gflops < 1e6 ? fmt::format("{:.3g} TFLOP/s", m.gflops / 1e3)
                        : fmt::format("{:.3g} PFLOP/s", m.gflops / 1e6);
}

}  // namespace

std::string console_line(const StepMetrics& m, int64_t last_step, double seconds_left) {
  constexpr size_t room = console_columns - std::string_view("[12:34:56] ").size();
  std::string line = fmt::format("step {}{}: loss {:.4f}, lr {:.3g}, norm {}", m.step,
                                 last_step > 0 ? fmt::format("/{}", last_step) : "", m.loss,
                                 m.learning_rate, show_norm(m.grad_norm));
  const std::string left =
      last_step > 0 ? fmt::format(", {} left", show_duration(seconds_left)) : "";
  const std::string speed = ", " + show_speed(m);
  const std::string tokens = fmt::format(", {} tok/s", show_count(m.tokens_per_second));
  const size_t needed = line.size() + left.size() + speed.size();
  if (needed + tokens.size() <= room) line += tokens;
  if (needed <= room) line += speed;
  return line + left;
}

// The sign of no number means nothing.
std::string show_loss(double loss) {
  return std::isnan(loss) ? "nan" : fmt::format("{:.5f}", loss);
}

std::string validation_line(const StepMetrics& m) {
  if (!m.validation_loss) return "";
  std::string line =
      fmt::format("step {}: validation loss {}", m.step, show_loss(*m.validation_loss));
  if (m.validation_losses.size() < 2) return line;
  for (const auto& each : m.validation_losses) {
    line += fmt::format("{} {} {} ({} samples)", &each == &m.validation_losses[0] ? ":" : ",",
                        each.set, show_loss(each.loss), each.samples);
  }
  return line;
}

std::string averages_line(const StepMetrics& m) {
  if (m.validation_averages.empty()) return "";
  std::string line = fmt::format("step {}: validation loss of averages:", m.step);
  for (const auto& each : m.validation_averages) {
    line += fmt::format("{} {} {}", &each == &m.validation_averages[0] ? "" : ",", each.average,
                        show_loss(each.loss));
  }
  return line;
}

std::string loss_scale_line(const StepMetrics& m) {
  if (!m.loss_scale || !m.loss_scale->skipped) return "";
  return fmt::format("step {}: overflow at loss scale {:g}, nothing changed; {} {} skipped", m.step,
                     m.loss_scale->scale, m.loss_scale->skipped_steps,
                     m.loss_scale->skipped_steps == 1 ? "step" : "steps");
}

}  // namespace switchyard
