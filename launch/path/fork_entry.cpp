#include "launch/path/fork_entry.h"

#include "core/error.h"
#include "core/logging.h"
#include "launch/path/average_members.h"
#include "launch/path/imported.h"
#include "launch/path/path_state.h"
#include "launch/path/relative_name.h"
#include "launch/path/verify.h"

namespace switchyard {

namespace {

// All of a saved step is read, as the branch's first start will.
CheckpointInfo read_fork_point(const RunFolder& parent, const CheckpointEntry& entry) {
  try {
    const CheckpointReader reader(entry.folder);
    verify_with_progress(reader);
    return reader.info();
  } catch (const Error& problem) {
    check(
        parent.has(entry.step), "fork",
        "step {} of '{}' was deleted while it was read; a trainer with --keep-checkpoints deletes "
        "the oldest: fork a step that stays",
        entry.step, parent.folder().string());
    throw Error(fmt::format("{}; no branch can start at step {} of '{}'", problem.what(),
                            entry.step, parent.folder().string()),
                problem.code());
  }
}

ForkEntry at_random_start(const RunFolder& parent, const PathSpecification& path,
                          const RelativeName& name) {
  check(path.start_step() == 0, "fork",
        "'{}' begins at step {}; its random start is step 0 of the path that it was forked from",
        parent.folder().string(), path.start_step());
  if (path.begins_with_weights()) {
    const LineageEntry& first = path.lineage.back();
    fail("fork",
         "'{}' begins with published weights, {}; 'fork {}@{} NEW' makes another path of them",
         parent.folder().string(), describe(*first.imported),
         place_of({first.path, first.path_as_given}, parent.folder()).string(), first.saved_step());
  }
  return {.entry = {name.real, "", 0, 0, 0, name.given}};
}

ForkEntry at_saved(const RunFolder& parent, const PathSpecification& path, int64_t step,
                   const RelativeName& name, bool is_there) {
  const auto entry = parent.checkpoint(step);
  const auto info =
      is_there ? CheckpointReader(entry.folder).info() : read_fork_point(parent, entry);
  LineageEntry fork{name.real, info.id, info.step, info.samples, path.tokens_at(info.step),
                    name.given};
  if (!path.has_training_options()) {  // published weights, or their mean
    fork.step = fork.samples = fork.tokens = 0;
    fork.imported = imported_weights_in(info);
  }
  return {.entry = fork, .origin = ForkPoint{parent, entry}, .checkpoint = info.id};
}

// Whether the branch was forked at this step of the parent when that was not saved.
bool is_made_so(const PathSpecification& branch, int64_t step, const RelativeName& name) {
  if (branch.lineage.empty()) return false;
  const auto& last = branch.lineage.back();
  return last.replayed && last.step == step && last.path == name.real;
}

void check_passed(const RunFolder& parent, const PathSpecification& path, int64_t step) {
  if (step < path.start_step()) {
    const LineageEntry& first = path.lineage.back();
    fail("fork", "'{}' begins at step {}; step {} is one of the path that it was forked from, '{}'",
         parent.folder().string(), path.start_step(), step,
         place_as_named({first.path, first.path_as_given}, parent.folder()).string());
  }
  if (step == path.start_step()) return;
  const auto records = read_step_records(parent.folder());
  check(!records.empty() && step <= records.rbegin()->first, "fork",
        "step {} of '{}' has not been made: its last is {}; a step up to that is allowed", step,
        parent.folder().string(), records.empty() ? path.start_step() : records.rbegin()->first);
}

// From the newest checkpoint before the step whose contents are right.
ReplayPlan good_plan(const RunFolder& parent, int64_t step) {
  std::set<std::filesystem::path> damaged;
  for (;;) {
    auto plan = plan_replay(parent, step, step, damaged);
    if (!plan.origin_run) return plan;
    try {
      read_fork_point(*plan.origin_run, plan.origin);
      return plan;
    } catch (const Error& problem) {
      if (plan.origin_run->read().kind != "path") throw;  // a mean, behind which there is none
      log::warning("{}; an earlier one is taken", problem.what());
      damaged.insert(plan.origin.folder);
    }
  }
}

ForkEntry at_passed(const RunFolder& parent, const PathSpecification& path, int64_t step,
                    const RelativeName& name, const RunFolder& branch) {
  check_passed(parent, path, step);
  ForkEntry from{.entry = {name.real, "", step, path.samples_at(step), path.tokens_at(step),
                           name.given, ReplayedFrom{}},
                 .replay = good_plan(parent, step)};
  check(!from.replay->origin_run || from.replay->from_weights ||
            from.replay->origin_run->read().kind == "path",
        "fork",
        "step {} of '{}' is not saved, nor any before it, and the path begins with the weights of "
        "an average, step {}; a step that is saved is allowed",
        step, parent.folder().string(), path.start_step());
  check_recorded(*from.replay, from.replay->begin() + 1, step, "fork");
  if (!from.replay->origin_run) return from;
  from.origin = ForkPoint{*from.replay->origin_run, from.replay->origin};
  from.checkpoint = CheckpointReader(from.origin->entry.folder).info().id;
  const auto origin = relative_name(from.origin->parent.folder(), branch.folder());
  from.entry.replayed = {origin.real, origin.given, from.replay->begin(), from.checkpoint};
  if (from.replay->from_weights) from.entry.replayed->imported_step = from.replay->origin.step;
  return from;
}

}  // namespace

int64_t step_to_fork(const RunReference& reference, const PathSpecification& parent) {
  if (reference.step) return *reference.step;
  const std::string name = reference.folder.string();
  check(parent.kind != "path", "fork", "'{}'; MAIN@STEP is allowed", name);
  const RunFolder run(reference.folder);
  const auto newest = run.checkpoint(std::nullopt);
  const auto saved = state_of(run, parent).saved;
  check(saved.size() == 1, "fork", "'{}' has {} checkpoints, of the steps {}; '{}@STEP' is allowed",
        name, saved.size(), show_steps(saved), name);
  return newest.step;
}

ForkEntry fork_entry(const RunFolder& parent, const PathSpecification& path, int64_t step,
                     const RunFolder& branch, bool is_there) {
  const auto name = relative_name(parent.folder(), branch.folder());
  if (step == 0 && path.kind == "path") return at_random_start(parent, path, name);
  if (is_there) {
    const auto made = branch.read();
    if (is_made_so(made, step, name)) return {.entry = made.lineage.back()};
  }
  const bool is_saved =
      path.kind != "path" || (parent.has(step) && has_moments(parent.checkpoint(step)));
  return is_saved ? at_saved(parent, path, step, name, is_there)
                  : at_passed(parent, path, step, name, branch);
}

std::string describe_replay(const RunFolder& parent, const RunFolder& branch,
                            const ForkEntry& from) {
  if (!from.replay) return "";
  const auto& plan = *from.replay;
  const std::string origin = plan.origin_run ? fmt::format("step {} of '{}'", plan.origin.step,
                                                           plan.origin_run->folder().string())
                                             : "the random start";
  return fmt::format(
      "step {} of '{}' is not saved{}: the first 'train {}' goes on from {}, makes {} steps again, "
      "holds them against the record and saves the last",
      from.entry.step, parent.folder().string(),
      parent.has(from.entry.step) ? " with its moments" : "", branch.folder().string(), origin,
      plan.end() - plan.begin());
}

}  // namespace switchyard
