#include "launch/path/verify_run.h"

#include <algorithm>

#include "launch/path/average_document.h"
#include "launch/path/problem_of.h"
#include "launch/path/saved_specification.h"
#include "launch/path/verify.h"
#include "launch/path/verify_lineage.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

// Members of averages that the checkpoint does not hold itself. Training goes on from the newest
// step; of others retention need not keep them (docs/averages.md).
void check_members(const RunFolder& run, const CheckpointInfo& info) {
  for (const LeftOutMember& member : averages_in(info).left_out) {
    if (member.checkpoint.empty()) continue;
    const auto id = id_of(run, member.step);
    check(id.has_value(), ExitCode::storage, "averages",
          "its averages need the weights of step {}, which is not saved any more", member.step);
    check(*id == member.checkpoint, ExitCode::storage, "averages",
          "its averages need checkpoint {} of step {}, but {} is there", member.checkpoint,
          member.step, *id);
  }
}

// `info` is the step's where nothing is wrong with it.
VerifiedStep verify_step(const RunFolder& run, const CheckpointEntry& entry, CheckpointInfo& info) {
  VerifiedStep verified{.step = entry.step};
  const auto problem = problem_of([&] {
    const CheckpointReader reader(entry.folder);
    verified.id = reader.info().id;
    verify_with_progress(reader);
    const VerifiedFiles read = verified_files(reader, entry.folder);
    verified.files = read.files;
    verified.bytes = read.bytes;
    verified.tensors = read.tensors;
    if (run.exists()) check_saved_specification(run.read(), reader.info(), "the step");
    info = reader.info();
  });
  if (problem) {
    verified.problem = problem->what();
    verified.code = problem->code();
  }
  return verified;
}

// A step that retention, or a trainer that makes it anew, has taken away meanwhile.
bool is_gone(const CheckpointEntry& entry) {
  std::error_code problem;
  return !fs::exists(entry.folder / "checkpoint.h5", problem) && !problem;
}

void add_step(const RunFolder& run, const CheckpointEntry& entry, VerifiedRun& all) {
  CheckpointInfo info;
  VerifiedStep step = verify_step(run, entry, info);
  if (!step.problem.empty() && is_gone(entry)) {
    all.notes.push_back(fmt::format("step {} was deleted while it was read", entry.step));
    return;
  }
  if (step.problem.empty()) {
    const auto lacks = problem_of([&] { check_members(run, info); });
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
}

void verify_path(const RunFolder& run, VerifiedRun& all) {
  const auto problem = problem_of([&] {
    const PathSpecification path = run.read();
    verify_origin(run, path, all);
    verify_pins(run, all);
  });
  if (problem) all.problems.emplace_back(problem->what());
}

}  // namespace

bool VerifiedRun::ok() const {
  return problems.empty() &&
         std::ranges::all_of(steps, [](const auto& step) { return step.problem.empty(); });
}

ExitCode VerifiedRun::code() const {
  for (const VerifiedStep& step : steps)
    if (!step.problem.empty())
      return step.code == ExitCode::reached ? ExitCode::storage : step.code;
  return problems.empty() ? ExitCode::reached : ExitCode::storage;
}

VerifiedRun verify_run(const RunReference& reference) {
  const RunFolder run(reference.folder);
  check(run.exists() || fs::exists(run.checkpoints()), "verify", "there is no path in '{}'",
        run.folder().string());
  VerifiedRun all;
  const auto entries = list_checkpoints(run.checkpoints());
  if (reference.step) {
    const auto entry = std::ranges::find(entries, *reference.step, &CheckpointEntry::step);
    const bool is_there = entry != entries.end() && entry->complete;
    add_step(run, is_there ? *entry : run.checkpoint(reference.step), all);
    return all;
  }
  for (const CheckpointEntry& entry : entries) {
    if (entry.complete) {
      add_step(run, entry, all);
    } else {
      all.notes.push_back(fmt::format(
          "{} is of a save that did not end, or is being written; it counts as not there",
          entry.folder.string()));
    }
  }
  note_others(run, entries, all);
  verify_path(run, all);
  return all;
}

}  // namespace switchyard
