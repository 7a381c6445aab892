#include "launch/metrics.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "data/progress.h"
#include "launch/path/run_folder.h"

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

// A file that is not there has no lines.
void sync_lines(const fs::path& file) {
  const Descriptor open(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  const bool synced = open ? fsync(open.number()) == 0 : errno == ENOENT;
  check(synced, ExitCode::storage, "metrics", "{} cannot be brought to the disk: {}", file.string(),
        std::strerror(errno));
}

// What is kept ends with a newline, so that the next step has a line of its own.
void discard_behind(const fs::path& run, const fs::path& file, int64_t step) {
  if (!fs::exists(file)) return;
  const std::string before = read_file(file);
  std::istringstream lines(before);
  std::string kept, discarded;
  for (std::string line; std::getline(lines, line);) {
    const int64_t its_step = step_of(line);
    (its_step >= 0 && its_step <= step ? kept : discarded) += line + '\n';
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
}

}  // namespace

void sync_metrics(const fs::path& run) { sync_lines(run / "metrics.jsonl"); }

double mfu_of(const StepMetrics& m) { return 1e9 * m.gflops / m.peak.flops; }

MetricsLog::MetricsLog(const fs::path& run, int64_t step) : file_(run / "metrics.jsonl") {
  discard_behind(run, file_, step);
  stream_.open(file_, std::ios::app);
  check(stream_.good(), "metrics", "{} cannot be written", file_.string());
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
  stream_ << json_text(line) << '\n' << std::flush;
  check(stream_.good(), "metrics", "{} cannot be written", file_.string());
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
