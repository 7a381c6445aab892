#include "launch/path/verify_run.h"

#include <algorithm>
#include <iterator>
#include <optional>

#include "launch/path/average_document.h"
#include "launch/path/problem_of.h"
#include "launch/path/saved_specification.h"
#include "launch/path/verify.h"
#include "launch/path/verify_lineage.h"
#include "parallel/checkpoint/newer_format.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

// `info` is the step's where nothing is wrong with it.
VerifiedStep verify_step(const std::optional<PathSpecification>& path, const CheckpointEntry& entry,
                         CheckpointInfo& info) {
  VerifiedStep verified{.step = entry.step};
  if (const auto newer = describe_newer_format(entry.folder)) {
    verified.is_newer = true;
    verified.code = ExitCode::usage;
    verified.problem = *newer;
    return verified;
  }
  const auto problem = problem_of([&] {
    const CheckpointReader reader(entry.folder);
    verified.id = reader.info().id;
    verify_with_progress(reader);
    const VerifiedFiles read = verified_files(reader, entry.folder);
    verified.files = read.files;
    verified.bytes = read.bytes;
    verified.tensors = read.tensors;
    if (path) check_saved_specification(*path, reader.info(), "the step");
    info = reader.info();
  });
  if (problem) {
    verified.problem = problem->what();
    verified.code = problem->code() == ExitCode::usage ? ExitCode::storage : problem->code();
  }
  return verified;
}

// A step that retention, or a trainer that makes it anew, has taken away meanwhile.
bool is_gone(const CheckpointEntry& entry) {
  std::error_code problem;
  return !fs::exists(entry.folder / "checkpoint.h5", problem) && !problem;
}

// Members of averages that the checkpoint does not hold itself. Training goes on from the newest
// step; of others retention need not keep them (docs/averages.md).
void check_members(const RunFolder& run, const CheckpointInfo& info, const VerifiedRun& all) {
  for (const LeftOutMember& member : averages_in(info).left_out) {
    if (member.checkpoint.empty()) continue;
    const auto id = id_of(run, member.step);
    check(id.has_value(), ExitCode::storage, "averages",
          "its averages need the weights of step {}, which is not saved any more", member.step);
    check(*id == member.checkpoint, ExitCode::storage, "averages",
          "its averages need checkpoint {} of step {}, but {} is there", member.checkpoint,
          member.step, *id);
    const auto known = std::ranges::find(all.steps, member.step, &VerifiedStep::step);
    CheckpointInfo unused;
    const VerifiedStep step =
        known != all.steps.end() ? *known : verify_step({}, run.checkpoint(member.step), unused);
    check(step.problem.empty(), ExitCode::storage, "averages",
          "its averages need the weights of step {}: {}", member.step, step.problem);
  }
}

void add_step(const RunFolder& run, const std::optional<PathSpecification>& path,
              const CheckpointEntry& entry, VerifiedRun& all) {
  CheckpointInfo info;
  VerifiedStep step = verify_step(path, entry, info);
  if (!step.problem.empty() && is_gone(entry)) {
    all.notes.push_back(fmt::format("step {} was deleted while it was read", entry.step));
    return;
  }
  if (step.problem.empty()) {
    const auto lacks = problem_of([&] { check_members(run, info, all); });
    const auto saved = list_checkpoints(run.checkpoints());
    const bool is_newest = std::ranges::none_of(
        saved, [&](const auto& other) { return other.complete && other.step > entry.step; });
    if (lacks && is_newest) {
      step.problem = lacks->what();
      step.code = lacks->code();
    } else if (lacks) {
      all.notes.push_back(fmt::format("step {}: {}", entry.step, lacks->what()));
    }
  }
  all.steps.push_back(std::move(step));
}

// What lies beside the saved steps and is none.
void note_others(const RunFolder& run, const std::vector<CheckpointEntry>& entries,
                 VerifiedRun& all) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(run.checkpoints(), ignored)) {
    const bool is_step = std::ranges::any_of(
        entries, [&](const auto& known) { return known.folder == entry.path(); });
    if (!is_step) all.notes.push_back(fmt::format("{} is no saved step", entry.path().string()));
  }
  if (entries.empty()) all.notes.emplace_back("no step is saved");
  if (run.latest()) return;
  const auto missed = problem_of([&] { run.check_none_saved(); });
  if (missed) all.problems.emplace_back(missed->what());
}

// What its steps are compared with; nothing where it cannot be read, or there is none.
std::optional<PathSpecification> read_path(const RunFolder& run, VerifiedRun& all) {
  std::optional<PathSpecification> path;
  if (!run.exists()) return path;
  const auto problem = problem_of([&] { path = run.read(); });
  if (problem) {
    (problem->code() == ExitCode::usage ? all.newer : all.problems).emplace_back(problem->what());
  }
  return path;
}

void add_lineage(const RunFolder& run, const PathSpecification& path, VerifiedRun& all) {
  const auto problem = problem_of([&] {
    LineageFindings found = verify_lineage(run, path);
    std::ranges::move(found.problems, std::back_inserter(all.problems));
    std::ranges::move(found.newer, std::back_inserter(all.newer));
    std::ranges::move(found.notes, std::back_inserter(all.notes));
  });
  if (problem) all.problems.emplace_back(problem->what());
}

}  // namespace

bool VerifiedRun::ok() const {
  return problems.empty() && newer.empty() &&
         std::ranges::all_of(steps, [](const auto& step) { return step.problem.empty(); });
}

ExitCode VerifiedRun::code() const {
  for (const VerifiedStep& step : steps)
    if (!step.problem.empty() && !step.is_newer)
      return step.code == ExitCode::reached ? ExitCode::storage : step.code;
  if (!problems.empty()) return ExitCode::storage;
  return ok() ? ExitCode::reached : ExitCode::usage;
}

VerifiedRun verify_run(const RunReference& reference) {
  const RunFolder run(reference.folder);
  check(run.exists() || fs::exists(run.checkpoints()), "verify", "there is no path in '{}'",
        run.folder().string());
  VerifiedRun all;
  const auto path = read_path(run, all);
  const auto entries = list_checkpoints(run.checkpoints());
  if (reference.step) {
    const auto entry = std::ranges::find(entries, *reference.step, &CheckpointEntry::step);
    const bool is_there = entry != entries.end() && entry->complete;
    add_step(run, path, is_there ? *entry : run.checkpoint(reference.step), all);
    return all;
  }
  for (const CheckpointEntry& entry : entries) {
    if (entry.complete) {
      add_step(run, path, entry, all);
    } else {
      all.notes.push_back(fmt::format(
          "{} is of a save that did not end, or is being written; it counts as not there",
          entry.folder.string()));
    }
  }
  note_others(run, entries, all);
  if (path) add_lineage(run, *path, all);
  if (!run.exists()) all.problems.emplace_back(problem_of([&] { run.read(); })->what());
  return all;
}

}  // namespace switchyard
