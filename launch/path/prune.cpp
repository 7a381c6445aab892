#include "launch/path/prune.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "core/error.h"
#include "core/files.h"
#include "launch/path/path_lock.h"
#include "parallel/checkpoint/files.h"
#include "parallel/checkpoint/moments.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

// Of all files below a folder, which may change meanwhile; a link's own are another one's.
int64_t bytes_below(const fs::path& folder) {
  int64_t bytes = 0;
  std::error_code gone;
  if (fs::is_symlink(folder, gone)) return 0;
  for (fs::recursive_directory_iterator it(folder, gone), end; !gone && it != end;
       it.increment(gone)) {
    std::error_code problem;
    if (!it->is_regular_file(problem)) continue;
    const auto size = it->file_size(problem);
    if (!problem) bytes += static_cast<int64_t>(size);
  }
  return bytes;
}

PrunedStep measured(const RunFolder& run, StepFate fate) {
  const fs::path folder = checkpoint_folder(run.checkpoints(), fate.step);
  PrunedStep step{std::move(fate), bytes_below(folder)};
  if (step.fate.fate == Fate::goes) step.frees = step.bytes;
  if (step.fate.fate == Fate::loses_moments) step.frees = moment_bytes(folder);
  return step;
}

std::vector<fs::path> discarded_folders(const RunFolder& run) {
  std::vector<fs::path> found;
  std::error_code problem;
  for (fs::directory_iterator it(run.folder() / "discarded", problem), end; !problem && it != end;
       it.increment(problem)) {
    found.push_back(it->path());
  }
  check(!problem || problem == std::errc::no_such_file_or_directory, "file",
        "{} cannot be looked into: {}", (run.folder() / "discarded").string(), problem.message());
  std::ranges::sort(found);
  return found;
}

void remove_discarded(const RunFolder& run) {
  for (const fs::path& folder : discarded_folders(run)) {
    std::error_code problem;
    if (fs::is_directory(fs::symlink_status(folder, problem))) {
      discard_checkpoint_folder(folder);
      continue;
    }
    fs::remove(folder, problem);
    check(!problem, "file", "{} cannot be removed: {}", folder.string(), problem.message());
  }
}

}  // namespace

int64_t PruneReport::frees() const {
  int64_t bytes = 0;
  for (const PrunedStep& step : steps) bytes += step.frees;
  for (const PrunedFolder& other : others) bytes += other.goes ? other.bytes : 0;
  return bytes;
}

PruneReport survey(const RunFolder& run, const PruneRequest& request) {
  PruneReport report;
  Retention retention(run, request.keep);
  for (StepFate& fate : retention.plan()) report.steps.push_back(measured(run, std::move(fate)));
  for (const CheckpointEntry& entry : retention.fragments()) {
    report.others.push_back(
        {fs::path("checkpoints") / entry.folder.filename(), bytes_below(entry.folder), true});
  }
  for (const fs::path& folder : discarded_folders(run)) {
    report.others.push_back(
        {fs::path("discarded") / folder.filename(), bytes_below(folder), request.discarded});
  }
  return report;
}

PruneReport prune(const RunFolder& run, const PruneRequest& request) {
  const PathLock lock(run, request.lock_patience);
  PruneReport report = survey(run, request);
  check(Retention(run, request.keep).apply(), "prune",
        "{} has been locked for a minute by another process; the same command again does the rest",
        (run.folder() / "pins.lock").string());
  run.check_held();
  if (request.discarded) remove_discarded(run);
  return report;
}

}  // namespace switchyard
