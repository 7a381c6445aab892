#include "launch/path/retention.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "core/error.h"
#include "core/files.h"
#include "core/logging.h"
#include "launch/path/average_document.h"
#include "launch/path/leaving_steps.h"
#include "launch/path/pins.h"
#include "launch/path/problem_of.h"
#include "launch/path/step_needs.h"
#include "launch/path/unreadable_step.h"
#include "parallel/checkpoint/files.h"
#include "parallel/checkpoint/leaving.h"
#include "parallel/checkpoint/moments.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

fs::path folder_of(const RunFolder& run, int64_t step) {
  return checkpoint_folder(run.checkpoints(), step);
}

// Pins of a step that is gone do no harm.
void forget_pins(const std::vector<Pin>& pins, int64_t step) {
  std::error_code ignored;
  for (const Pin& pin : pins) {
    if (pin.step != step) continue;
    log::info("step {} was kept for the branch '{}', which is gone", pin.step,
              pin.branch.lexically_normal().string());
    fs::remove(pin.file, ignored);
  }
}

}  // namespace

RetentionOptions retention_options(const Settings& run) {
  return {run.integer("keep-checkpoints"), run.integer("keep-every"), run.integer("keep-moments")};
}

std::string describe_vain_retention(const Settings& run) {
  const auto [checkpoints, every, moments] = retention_options(run);
  if (every == 0 || checkpoints > 0) return "";
  return fmt::format("--keep-every {}, but nothing is deleted: --keep-checkpoints is 0", every);
}

// What a process that was killed left of a save or a deletion below the newest complete step. One
// that a branch needs stays: its files may come back.
std::vector<CheckpointEntry> Retention::fragments() const {
  std::vector<CheckpointEntry> found;
  if (options_.checkpoints <= 0) return found;
  const auto entries = list_checkpoints(run_.checkpoints());
  const auto newest =
      std::find_if(entries.rbegin(), entries.rend(), [](const auto& e) { return e.complete; });
  for (auto entry = newest; entry != entries.rend(); ++entry) {
    std::error_code problem;
    if (entry->complete || !fs::is_directory(entry->folder, problem) || problem) continue;
    if (is_pinned(run_.folder(), entry->step)) continue;
    found.push_back(*entry);
  }
  return found;
}

SavedStep Retention::look_at(const CheckpointEntry& entry) {
  const auto known = known_.find(entry.step);
  if (known != known_.end()) return known->second;
  SavedStep step{entry.step};
  std::error_code ignored;
  if (fs::is_symlink(entry.folder, ignored)) {
    step.bound = "a link, whose moments are another one's";
  } else {
    try {
      const StoredMoments found = moments_of(entry.folder);
      step.has_moments = found != StoredMoments::none;
      if (found == StoredMoments::mixed) step.bound = "format 1, moments within the weights' files";
    } catch (const Error& problem) {  // it is not this step that training depends on
      step.bound = fmt::format("it cannot be read: {}", problem.what());
    }
  }
  if (!step.has_moments || !step.bound.empty()) known_[entry.step] = step;
  return step;
}

// Looked for once in this object's life.
const std::string& Retention::known_problem(const CheckpointEntry& entry) {
  const auto [known, is_new] = problems_.try_emplace(entry.step);
  if (!is_new) return known->second;
  const auto problem = problem_of_step(entry);
  if (problem) known->second = problem->what();
  return known->second;
}

// Those steps alone are opened on which it depends what goes, or that may go; and masters of those
// that may have to lose their moments.
std::vector<SavedStep> Retention::saved_steps() {
  auto entries = list_checkpoints(run_.checkpoints());
  std::erase_if(entries, [](const CheckpointEntry& e) { return !e.complete; });
  std::vector<SavedStep> saved;
  const auto [most, every, moments] = options_;
  int64_t newer = 0, newer_staying = 0;  // of those that can be read
  for (auto entry = entries.rbegin(); entry != entries.rend(); ++entry) {
    const bool stays = most == 0 || newer < most || (every > 0 && entry->step % every == 0);
    std::error_code gone;
    const bool is_lost = !stays && !fs::is_symlink(entry->folder, gone);  // of a link, nothing is
    const bool matters = is_lost || newer < most || newer_staying < moments;
    SavedStep step{entry->step};
    if (matters) step.problem = known_problem(*entry);
    if (step.problem.empty()) {
      if (moments > 0 && newer >= moments) step = look_at(*entry);
      ++newer;
      newer_staying += stays ? 1 : 0;
    }
    saved.push_back(std::move(step));
  }
  std::ranges::reverse(saved);
  return saved;
}

// A step that cannot be read is not gone on from, and needs nothing.
std::vector<int64_t> Retention::members_of(int64_t step) {
  const auto known = members_.find(step);
  if (known != members_.end()) return known->second;
  std::vector<int64_t> members;
  try {
    members = members_left_out(CheckpointReader(folder_of(run_, step)).info());
  } catch (const Error&) {
    return {};
  }
  return members_[step] = members;
}

std::vector<StepNeed> Retention::needs_of(std::span<const SavedStep> saved,
                                          std::span<const Pin> pins) {
  auto needs = step_needs(pins);
  for (const SavedStep& each : saved) {
    if (!each.has_moments) continue;  // nothing goes on from it, nor do its averages
    for (const int64_t member : members_of(each.step)) {
      needs.push_back(
          {member, false, fmt::format("a member of an average of step {}", each.step), each.step});
    }
  }
  return needs;
}

std::vector<StepFate> Retention::plan() {
  const auto saved = saved_steps();
  return plan_retention(saved, needs_of(saved, read_pins(run_.folder())), options_);
}

// What forks and prunings leave that are killed; once a start.
void Retention::tidy() {
  if (std::exchange(tidied_, true)) return;
  remove_looks(run_.folder() / "pins");
  remove_looks(run_.checkpoints());
  for (const CheckpointEntry& entry : list_checkpoints(run_.checkpoints())) {
    remove_looks(entry.folder);
    std::error_code ignored;
    if (entry.complete) fs::remove(temporary_of(entry.folder / master_name), ignored);
  }
}

void Retention::remove_fragments() {
  rescue_pinned(run_);
  for (const CheckpointEntry& entry : fragments()) {
    log::info("what is left of step {}, which is not complete, goes", entry.step);
    run_.check_held();
    remove_checkpoint(entry.folder);
  }
}

// False: they are its moments again, as it is a fork point.
bool Retention::remove_left(int64_t step) {
  const auto is_free = [&] {
    see_anew(run_.folder() / "pins");
    return !is_pinned(run_.folder(), step);
  };
  return remove_left_moments(folder_of(run_, step), is_free);
}

void Retention::end_begun() {
  tidy();
  remove_fragments();
  for (const CheckpointEntry& entry : list_checkpoints(run_.checkpoints())) {
    if (!entry.complete || !are_moments_leaving(entry.folder)) continue;
    run_.check_held();
    if (has_moments(entry)) {
      forget_leaving_moments(entry.folder);  // they have not left
    } else {
      remove_left(entry.step);
    }
  }
}

bool Retention::apply() {
  tidy();
  remove_fragments();
  const auto known = known_;
  const auto saved = saved_steps();
  report_unreadable(saved);
  std::vector<int64_t> brought_back;
  for (const auto& [step, found] : known_) {
    if (known.contains(step) || found.has_moments) continue;
    if (!remove_left(step)) brought_back.push_back(step);
  }
  for (const int64_t step : brought_back) known_.erase(step);
  // Needs only keep more, so that pins are looked up where something would go.
  auto fates = plan_retention(saved, {}, options_);
  report_bound(fates);
  std::erase_if(fates, [](const StepFate& each) { return each.fate == Fate::stays; });
  if (!fates.empty()) follow_branches(run_.folder());
  return std::ranges::all_of(fates,
                             [&](const StepFate& each) { return carry_out(saved, each.step); });
}

void Retention::report_unreadable(std::span<const SavedStep> saved) {
  for (const SavedStep& each : saved) {
    if (each.problem.empty() || !warned_.insert(each.step).second) continue;
    log::warning("step {} {}; it stays", each.step, describe_unreadable(each.problem));
  }
}

void Retention::report_bound(std::span<const StepFate> fates) {
  if (said_) return;
  for (const StepFate& each : fates) {
    if (each.is_bound) log::info("step {} keeps its moments: {}", each.step, each.why);
    said_ |= each.is_bound;
  }
}

Fate Retention::fate_of(std::span<const SavedStep> saved, int64_t step, std::span<const Pin> pins) {
  const auto fates = plan_retention(saved, needs_of(saved, pins), options_);
  return std::ranges::find(fates, step, &StepFate::step)->fate;
}

// With the pins read anew, as forks may be made meanwhile, and again behind the step's leaving:
// other hosts may not see the lock of pins.
bool Retention::carry_out(std::span<const SavedStep> saved, int64_t step) {
  const FileLock lock = lock_pins(run_.folder());
  if (!lock.held()) return false;
  auto pins = read_pins(run_.folder());
  const Fate fate = fate_of(saved, step, pins);
  if (fate == Fate::stays) return true;
  run_.check_held();
  const fs::path folder = folder_of(run_, step);
  const auto still_goes = [&] {
    see_anew(run_.folder() / "pins");
    pins = read_pins(run_.folder());
    return fate_of(saved, step, pins) == fate;
  };
  if (fate == Fate::loses_moments) {
    if (drop_moments(folder, still_goes)) known_[step] = {step, false};
    return true;
  }
  if (fs::is_symlink(folder)) {  // what it leads to stays
    remove_checkpoint(folder);
  } else if (let_leave(folder)) {
    try {
      if (!still_goes()) {
        bring_back(folder);
        return true;
      }
      run_.check_held();
    } catch (const Error&) {
      bring_back(folder);
      throw;
    }
    remove_checkpoint(folder);
  }
  forget_pins(pins, step);
  return true;
}

namespace {

struct Moved {
  int64_t step = 0;
  fs::path from, to;
};

fs::path place_for_discarded(const RunFolder& run, const fs::path& folder) {
  make_folder(run.folder() / "discarded");
  fs::path to = run.folder() / "discarded" / folder.filename();
  for (int i = 1; fs::exists(to); ++i) {
    to = run.folder() / "discarded" / fmt::format("{}.{}", folder.filename().string(), i);
  }
  return to;
}

void move_away(const fs::path& from, const fs::path& to) {
  std::error_code problem;
  fs::rename(from, to, problem);
  const bool elsewhere = problem == std::errc::cross_device_link;
  check(!problem, ExitCode::storage, "path", "{} cannot be moved to {}: {}{}", from.string(),
        to.string(), problem.message(),
        elsewhere ? fmt::format("; '{}' has to be (a link to) a folder of the same file system",
                                to.parent_path().string())
                  : "");
}

void check_no_fork_point(const RunFolder& run, int64_t step, int64_t behind) {
  check(!is_pinned(run.folder(), behind), "path",
        "going on from step {} would discard step {}, a fork point (see {}); fork a branch from "
        "step {} instead",
        step, behind, (run.folder() / "pins").string(), step);
}

}  // namespace

void discard_behind(const RunFolder& run, int64_t step) {
  const FileLock lock = hold_pins(run.folder());
  rescue_pinned(run);
  std::vector<Moved> moved;
  auto behind = list_checkpoints(run.checkpoints());
  std::erase_if(behind, [](const auto& entry) { return !entry.complete; });
  const auto kept = std::erase_if(behind, [&](const auto& entry) { return entry.step <= step; });
  for (const auto& entry : behind) check_no_fork_point(run, step, entry.step);
  if (kept == 0) run.forget_saved();
  for (const auto& entry : behind) {
    const fs::path to = place_for_discarded(run, entry.folder);
    log::warning("step {} was saved behind the step that is gone on from; it moves to {}",
                 entry.step, to.string());
    run.check_held();
    move_away(entry.folder, to);
    moved.push_back({entry.step, entry.folder, to});
  }
  if (moved.empty()) return;
  for (const fs::path& folder : {run.folder() / "discarded", run.checkpoints()}) {
    const auto problem = sync_folder(folder);
    check(!problem, ExitCode::storage, "path", "{} cannot be brought to the disk: {}",
          folder.string(), problem.message());
  }
  see_anew(run.folder() / "pins");
  try {  // of other hosts, which may not see the lock
    for (const Moved& each : moved) check_no_fork_point(run, step, each.step);
  } catch (const Error&) {
    for (const Moved& each : moved) fs::rename(each.to, each.from);
    throw;
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
