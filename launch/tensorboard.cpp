#include "launch/tensorboard.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/error.h"
#include "launch/path/relative_name.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

// The deepest folder of a name that is there.
fs::path existing_part(fs::path folder) {
  std::error_code ignored;
  while (!fs::exists(folder, ignored) && folder.has_relative_path()) folder = folder.parent_path();
  return folder;
}

}  // namespace

std::optional<fs::path> event_folder(const fs::path& run, const Settings& settings) {
  const std::string& dir = settings.text("tensorboard");
  if (dir == "none") return std::nullopt;
  const fs::path below = real_place(run).lexically_relative(real_place(dir).parent_path());
  const bool is_outside = *below.begin() == "..";
  return fs::absolute(dir) / (is_outside ? real_place(run).relative_path() : below);
}

void check_event_folder(const fs::path& run, const Settings& given, const Settings& settings) {
  const std::string& dir = settings.text("tensorboard");
  check(!dir.empty(), "options", "--tensorboard ''; a folder or none is allowed");
  check_is_text(dir);
  const auto folder = event_folder(run, settings);
  if (!folder) return;
  const fs::path there = existing_part(*folder);
  const bool is_folder = fs::is_directory(there);
  if (is_folder && access(there.c_str(), W_OK | X_OK) == 0) return;
  fail(ExitCode::storage, "tensorboard", "--tensorboard {}: '{}' {}{}", dir, there.string(),
       is_folder ? fmt::format("cannot be written: {}", std::strerror(errno)) : "is not a folder",
       given.has("tensorboard") ? "; another folder or none is allowed"
                                : "; it is as at the last start: give it anew, or --tensorboard "
                                  "none, which forgets it");
}

std::vector<Scalar> scalars_of(const StepMetrics& m) {
  std::vector<Scalar> all = {{"loss/train", m.loss},
                             {"learning-rate", m.learning_rate},
                             {"grad-norm", m.grad_norm},
                             {"samples", static_cast<double>(m.samples)},
                             {"tokens", static_cast<double>(m.tokens)},
                             {"throughput/tokens-per-second", m.tokens_per_second},
                             {"throughput/gflops", m.gflops},
                             {"memory/bytes", static_cast<double>(m.memory_bytes)}};
  if (m.peak.flops > 0) all.push_back({"throughput/mfu", mfu_of(m)});
  if (m.loss_scale) all.push_back({"loss-scale", m.loss_scale->scale});
  const auto add_sets = [&](const std::string& tag, const std::vector<StepMetrics::SetLoss>& sets) {
    for (const auto& each : sets) all.push_back({tag + "/" + each.set, each.loss});
  };
  if (m.validation_loss) all.push_back({"loss/validation", *m.validation_loss});
  add_sets("loss/validation", m.validation_losses);
  for (const auto& each : m.validation_averages) {
    const std::string tag = "loss/validation-average/" + each.average;
    all.push_back({tag, each.loss});
    add_sets(tag, each.sets);
  }
  return all;
}

TensorBoardLog::TensorBoardLog(const fs::path& folder, int64_t step) : file_(folder) {
  const WallTime now = std::chrono::system_clock::now();
  file_.write(version_event(now));
  file_.write(start_event(now, step + 1));
}

void TensorBoardLog::write(const StepMetrics& m) {
  file_.write(scalars_event(m.ended, m.step, scalars_of(m)));
}

}  // namespace switchyard
