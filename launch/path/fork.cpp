#include "launch/path/fork.h"

#include <algorithm>

#include "core/error.h"
#include "core/files.h"
#include "core/logging.h"
#include "launch/engine/matmul_choices.h"
#include "launch/path/average_fork.h"
#include "launch/path/companions.h"
#include "launch/path/fork_entry.h"
#include "launch/path/fork_point.h"
#include "launch/path/imported.h"
#include "launch/path/leaving_steps.h"
#include "launch/path/path_lock.h"
#include "launch/path/pins.h"
#include "launch/path/resumable.h"
#include "launch/path/specification_checks.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

// The checkpoint that the branch needs, and beside a mean its moments'. Nothing is saved of a
// random start: its pin only tells `inspect` of the branch.
void keep_origin(const RunFolder& parent, const ForkEntry& from, const RunFolder& branch) {
  if (from.entry.imported) return pin_published(from.origin->parent, from.entry, branch);
  if (from.origin) {
    pin_fork_point(from.origin->parent, from.origin->entry.step, from.checkpoint, branch);
    pin_moments(branch, from.entry);
    return;
  }
  if (from.entry.step > 0) return;
  try {
    write_pin(parent.folder(), 0, "", branch.folder());
  } catch (const Error&) {
    return;  // the parent may only be read
  }
}

// A trainer may have deleted it, or its moments, meanwhile.
void check_origin(const ForkEntry& from, const RunFolder& branch) {
  if (!from.origin) return;
  const RunFolder& run = from.origin->parent;
  const auto entry = pinned_checkpoint(run, from.origin->entry.step, from.checkpoint);
  if (!from.entry.average && !from.begins_with_weights()) check_resumable(run, entry);
  const auto member = member_with_moments(from.entry);
  if (!member) return;
  const RunFolder source = find_fork_point(branch, *member).parent;
  check_resumable(source, pinned_checkpoint(source, member->step, member->checkpoint));
}

void check_same(const RunFolder& branch, const PathSpecification& asked) {
  const std::string differs = difference(branch.read(), asked, branch.folder());
  check(differs.empty(), "fork", "'{}' exists already: {}; a branch needs a new folder",
        branch.folder().string(), differs);
}

// Writes the branch, of which nothing is left where that fails; false where another process has
// made the same at this moment.
bool make_branch(const RunFolder& parent, const RunFolder& branch, const ForkEntry& from,
                 const PathSpecification& path) {
  std::error_code ignored;
  const bool is_new = !fs::exists(branch.folder(), ignored);
  const PathLock lock(branch, std::chrono::seconds(30));
  if (branch.exists()) {
    check_same(branch, path);
    return false;
  }
  try {
    keep_origin(parent, from, branch);
    check_origin(from, branch);
    hand_on_matmul_choices(parent.folder(), branch.folder());
    if (from.replay) write_file_atomically(branch.folder() / replay_file, to_json(*from.replay));
    branch.write(path);
    const auto companions = parent.folder() / companion_folder;
    if (from.begins_with_weights() && fs::is_directory(companions, ignored)) {
      copy_companions(companions, branch.folder() / companion_folder);
    }
    return true;
  } catch (const Error&) {
    const auto& kept = from.origin ? from.origin->parent : parent;
    remove_pin(kept.folder(), from.origin ? from.origin->entry.step : 0, branch.folder());
    unpin_moments(branch, from.entry);
    if (is_new) fs::remove_all(branch.folder(), ignored);
    throw;
  }
}

// Whether retention has taken what was planned to be replayed from.
bool is_lost(const ForkEntry& from) {
  if (!from.replay || !from.origin) return false;
  const CheckpointEntry& entry = from.origin->entry;
  return !from.origin->parent.has(entry.step) ||
         (!from.begins_with_weights() && !has_moments(entry));
}

// Only means of a path's steps have a choice.
void check_moments(const PathSpecification& parent, const LineageEntry& entry,
                   const Settings& given) {
  if (!given.has("moments")) return;
  const std::string& moments = given.text("moments");
  check(!entry.imported || moments == "fresh", "fork",
        "--moments {} over published weights, which have none; fresh is allowed", moments);
  check(parent.kind != "path", "fork",
        "--moments {} over a path's saved step, whose moments go with it; it is allowed over an "
        "average",
        moments);
}

// Where a branch begins, and what it is made of.
struct Planned {
  ForkEntry from;
  PathSpecification path;
};
Planned plan_branch(const RunFolder& parent, const PathSpecification& specification, int64_t step,
                    const RunFolder& branch, bool is_there, const Settings& given) {
  auto from = fork_entry(parent, specification, step, branch, is_there);
  check_moments(specification, from.entry, given);
  if (specification.kind == "average" && !from.entry.imported) {
    const auto info = CheckpointReader(parent.checkpoint(step).folder).info();
    from.entry.average =
        average_fork(parent, info, branch, given.has("moments") ? given.text("moments") : "newest");
  }
  auto path = fork_path(specification, from.entry, given);
  return {std::move(from), std::move(path)};
}

// Makes the branch, or finds it as it would be made: is_there. What retention takes between the
// plan and its pin is planned anew.
Planned obtain_branch(const RunFolder& parent, const PathSpecification& specification, int64_t step,
                      const RunFolder& branch, bool& is_there, const Settings& given) {
  for (int tries = 1;; ++tries) {
    auto plan = plan_branch(parent, specification, step, branch, is_there, given);
    try {
      if (is_there) {
        check_same(branch, plan.path);
        keep_origin(parent, plan.from, branch);
      } else {
        is_there = !make_branch(parent, branch, plan.from, plan.path);
      }
      return plan;
    } catch (const Error&) {
      if (tries == 5 || !is_lost(plan.from)) throw;
    }
  }
}

// Of published weights, whose dropout a branch has unless it is given.
std::string describe_dropout(const LineageEntry& entry, const PathSpecification& path,
                             const Settings& given) {
  std::string line;
  for (const char* name : {"hidden-dropout", "attention-dropout"}) {
    if (!entry.imported || given.has(name) || path.settings.real(name) == 0) continue;
    line += fmt::format("{}--{} {}", line.empty() ? "" : ", ", name, path.settings.text(name));
  }
  return line.empty() ? "" : line + ": the published model's; 0 trains without";
}

}  // namespace

void fork(const std::string& parent_at_step, const std::string& child, const Settings& given) {
  const auto reference = parse_run_reference(parent_at_step);
  const RunFolder parent(reference.folder);
  const RunFolder branch(child);
  // In this order: a path.json that another fork of the name writes meanwhile is then seen as one.
  const bool is_taken = branch.taken();
  bool is_there = branch.exists();
  if (!is_there) branch.check_name();
  check(is_there || !is_taken, "fork", "'{}' exists already; a branch needs a new folder", child);
  const auto specification = parent.read();
  const int64_t step = step_to_fork(reference, specification);
  const auto [from, path] = obtain_branch(parent, specification, step, branch, is_there, given);
  if (from.entry.imported) {
    log::info("'{}' begins with {} ('{}'), with fresh moments, at step 0{}", child,
              describe(*from.entry.imported), parent.folder().string(), is_there ? " already" : "");
  } else {
    log::info("'{}' continues from step {} of '{}' ({} samples){}{}", child, from.entry.step,
              parent.folder().string(), from.entry.samples, describe_moments(from.entry),
              is_there ? " already" : "");
  }
  if (const auto line = describe_replay(parent, branch, from); !line.empty() && !is_there) {
    log::info("{}", log::folded(line));
  }
  for (const auto& line : describe_rates(specification, path)) log::info("{}", line);
  if (const auto line = describe_positions(path); !line.empty()) log::info("{}", line);
  if (const auto line = describe_dropout(from.entry, path, given); !line.empty()) {
    log::info("{}", line);
  }
  if (const auto line = describe_minimum(path, given); !line.empty()) log::info("{}", line);
}

namespace {

// Whether the path reads these data from that step on already.
bool is_extended(const PathSpecification& path, int64_t step, const Settings& given) {
  const auto stage =
      std::ranges::find(path.stages, path.samples_at(step), &DataStage::first_sample);
  if (stage == path.stages.end()) return false;
  return is_named_blend(stage->sources, parse_sources(given.list("data-path"))) ||
         is_same_blend(stage->sources,
                       identified_sources(given.list("data-path"), path.model.vocabulary));
}

void check_will_be_read(const PathSpecification& path, int64_t step, int64_t last_saved) {
  check(step >= last_saved, "extend",
        "--at-step {}, but step {} is saved; a step from there on is allowed", step, last_saved);
  const int64_t end = path.decay_end();
  check(end == 0 || step < end || path.learns_behind_end(), "extend",
        "--at-step {}, but the path ends at step {}, with its decay, and the rate is 0 behind it; "
        "what lies there is never read: a step before {} is allowed",
        step, end, end);
  const int64_t sample = path.samples_at(step);
  check(
      path.stages.back().first_sample < sample, "extend",
      "--at-step {} (sample {}), but a stage of data begins at sample {} already; a later step is "
      "allowed",
      step, sample, path.stages.back().first_sample);
}

}  // namespace

void extend(const std::string& run, int64_t step, const Settings& given) {
  const RunFolder folder(run);
  auto path = folder.read();
  check(path.kind == "path", "extend", "'{}' is {}; it is never trained on", run,
        describe_kind(path));
  if (is_extended(path, step, given)) {  // seen without the lock: a stage never goes
    log::info("behind step {} '{}' reads {} already", step, run, show(given.list("data-path")));
    return;
  }
  const PathLock lock(folder, lock_patience(given));
  path = folder.read();  // now nobody else changes it
  const auto latest = folder.latest();
  const int64_t last = latest ? latest->step : path.start_step();
  check_will_be_read(path, step, last);
  path.stages.push_back({path.samples_at(step), parse_sources(given.list("data-path"))});
  path.stages = open_training_data(path, last, path.end_behind(step)).stages();
  folder.write(path);
  log::info("behind step {} '{}' reads {}", step, run, show_blend(path.stages.back().sources));
  if (path.decay_end() > 0 && step >= path.decay_end()) {
    log::info(
        "the decay ends at step {}: 'train' reads this with a --train-iters above {}, at the "
        "rate {:.6g} (--min-lr)",
        path.decay_end(), step, path.schedule.minimum);
  }
}

}  // namespace switchyard
