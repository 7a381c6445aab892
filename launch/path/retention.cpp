#include "launch/path/retention.h"

#include <algorithm>

#include "core/error.h"
#include "core/files.h"
#include "core/logging.h"
#include "launch/path/average_document.h"
#include "launch/path/pins.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

std::vector<Pin> pins_of(const fs::path& run, int64_t step) {
  auto pins = read_pins(run);
  std::erase_if(pins, [&](const Pin& pin) { return pin.step != step; });
  return pins;
}

// What a process that was killed left of a save or a deletion below the newest complete step. One
// that a branch needs stays: its files may come back.
void remove_fragments(const fs::path& run, const std::vector<CheckpointEntry>& entries) {
  const auto newest =
      std::find_if(entries.rbegin(), entries.rend(), [](const auto& e) { return e.complete; });
  for (auto entry = newest; entry != entries.rend(); ++entry) {
    std::error_code problem;
    if (entry->complete || !fs::is_directory(entry->folder, problem) || problem) continue;
    if (std::ranges::any_of(pins_of(run, entry->step), &Pin::counts)) continue;
    log::info("what is left of step {}, which is not complete, goes", entry->step);
    remove_checkpoint(entry->folder);
  }
}

// The newest ones and fork points.
std::vector<int64_t> steps_that_stay(const RunFolder& run,
                                     const std::vector<CheckpointEntry>& entries, int64_t excess) {
  std::vector<int64_t> steps;
  for (const auto& entry : entries) {
    if (excess-- <= 0 || std::ranges::any_of(pins_of(run.folder(), entry.step), &Pin::counts)) {
      steps.push_back(entry.step);
    }
  }
  return steps;
}

}  // namespace

void retain_latest(const RunFolder& run, int64_t keep) {
  if (keep <= 0) return;
  auto entries = list_checkpoints(run.checkpoints());
  remove_fragments(run.folder(), entries);
  std::erase_if(entries, [](const CheckpointEntry& e) { return !e.complete; });
  const auto excess = static_cast<int64_t>(entries.size()) - keep;
  if (excess <= 0) return;
  follow_branches(run.folder());
  const auto members = steps_needed_by_averages(run, steps_that_stay(run, entries, excess));
  for (int64_t i = 0; i < excess; ++i) {
    const auto& entry = entries[static_cast<size_t>(i)];
    if (std::ranges::find(members, entry.step) != members.end()) continue;
    const FileLock lock = lock_pins(run.folder());
    if (!lock.held()) return;  // the next time
    const auto pins =
        pins_of(run.folder(), entry.step);  // each time anew: forks may be made meanwhile
    if (std::ranges::any_of(pins, &Pin::counts)) continue;
    remove_checkpoint(entry.folder);
    std::error_code ignored;  // a pin of nothing does no harm
    for (const Pin& pin : pins) {
      log::info("step {} was kept for the branch '{}', which is gone", pin.step,
                pin.branch.lexically_normal().string());
      fs::remove(pin.file, ignored);
    }
  }
}

void discard_behind(const RunFolder& run, int64_t step) {
  const FileLock lock = hold_pins(run.folder());
  std::vector<CheckpointEntry> behind;
  for (auto& entry : list_checkpoints(run.checkpoints())) {
    if (!entry.complete || entry.step <= step) continue;
    check(std::ranges::none_of(pins_of(run.folder(), entry.step), &Pin::counts), "path",
          "going on from step {} would discard step {}, a fork point (see {}); fork a branch from "
          "step {} instead",
          step, entry.step, (run.folder() / "pins").string(), step);
    behind.push_back(entry);
  }
  for (const auto& entry : behind) {
    make_folder(run.folder() / "discarded");
    fs::path to = run.folder() / "discarded" / entry.folder.filename();
    for (int i = 1; fs::exists(to); ++i) {
      to = run.folder() / "discarded" / fmt::format("{}.{}", entry.folder.filename().string(), i);
    }
    log::warning("step {} was saved behind the step that is gone on from; it moves to {}",
                 entry.step, to.string());
    fs::rename(entry.folder, to);
  }
}

bool is_untrained(const RunFolder& run) {
  std::error_code ignored;
  for (const char* name : {"metrics.jsonl", "metrics.discarded.jsonl", "discarded"}) {
    const fs::path file = run.folder() / name;
    if (fs::exists(file, ignored) && !fs::is_empty(file, ignored)) return false;
  }
  return !run.latest() && std::ranges::none_of(read_pins(run.folder()), &Pin::counts);
}

}  // namespace switchyard
