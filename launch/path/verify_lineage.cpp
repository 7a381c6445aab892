#include "launch/path/verify_lineage.h"

#include "core/files.h"
#include "launch/path/average_fork.h"
#include "launch/path/fork_point.h"
#include "launch/path/pins.h"
#include "launch/path/problem_of.h"
#include "launch/path/relative_name.h"
#include "launch/path/replay_plan.h"
#include "launch/path/resumable.h"
#include "launch/path/verify.h"
#include "parallel/checkpoint/newer_format.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

std::string describe(const std::string& what, const LineageEntry& from) {
  return fmt::format("its {} {}@{} (checkpoint {})", what, from.path, from.saved_step(),
                     from.checkpoint);
}

// Where the step lies that it names, if a newer program wrote that.
std::optional<std::string> describe_newer(const RunFolder& run, const LineageEntry& from) {
  for (const auto& place : places({from.path, from.path_as_given}, run.folder())) {
    const auto folder = checkpoint_folder(RunFolder(place).checkpoints(), from.saved_step());
    if (auto newer = describe_newer_format(folder)) return newer;
  }
  return std::nullopt;
}

class OriginChecks {
 public:
  OriginChecks(const RunFolder& run, LineageFindings& all) : run_(run), all_(all) {}

  void add(const std::string& what, const LineageEntry& from, bool with_moments) {
    std::optional<RunFolder> parent;
    std::optional<fs::path> found;
    std::optional<Error> damage;
    const auto problem = problem_of([&] {
      const ForkPoint point = find_fork_point(run_, from);
      found = point.parent.folder();
      damage = point.damage;
      if (with_moments) check_resumable(point.parent, point.entry);
      verify_with_progress(CheckpointReader(point.entry.folder));
      parent = point.parent;
    });
    if (damage) report(describe(what, from), problem ? *damage : with_copy(*damage, *found));
    const auto newer = problem ? describe_newer(run_, from) : std::nullopt;
    if (newer) {
      report_newer(describe(what, from), *newer);
      return;
    }
    if (problem && found && problem->code() == ExitCode::storage) {
      report(describe(what, from), with_whole_copy(*problem, from, *found, with_moments));
    } else {
      report(describe(what, from), problem);
    }
    if (parent) report_read(describe(what, from), problem_of([&] { parent->read(); }));
    if (parent && !run_.latest()) {
      report(describe(what, from), problem_of([&] { check_kept(*parent, from.saved_step()); }));
    }
  }

  void add_replay_plan() {
    const auto file = run_.folder() / replay_file;
    report_read(fmt::format("{}, which says how its fork point is made", file.string()),
                problem_of([&] { replay_plan_from_json(read_file(file), file.string()); }));
  }

 private:
  // A start goes on from the first copy that it can read whole.
  Error with_whole_copy(const Error& problem, const LineageEntry& from, const fs::path& damaged,
                        bool with_moments) const {
    std::vector<fs::path> known = {damaged};
    while (const auto copy = find_other_copy(run_, from, known, with_moments)) {
      known.push_back(copy->parent.folder());
      if (problem_of([&] { verify_with_progress(CheckpointReader(copy->entry.folder)); })) continue;
      return with_copy(problem, copy->parent.folder());
    }
    return problem;
  }

  static Error with_copy(const Error& problem, const fs::path& copy) {
    return Error(fmt::format("{}; a start reads its copy in '{}' instead, which is whole",
                             problem.what(), copy.string()),
                 problem.code());
  }

  // The first start of a branch without a pin saves its fork point in the branch where the parent
  // cannot be written.
  void check_kept(const RunFolder& parent, int64_t step) const {
    const auto& folder = parent.folder();
    check(!may_pin(folder) || is_pinned_for(folder, step, run_.folder()), ExitCode::storage, "pins",
          "its pin in {} is gone, so that step {} may be deleted there; the same 'fork' again, or "
          "the first 'train', writes it anew",
          (folder / "pins").string(), step);
  }

  void report_newer(const std::string& what, const std::string& newer) {
    (run_.latest() ? all_.notes : all_.newer).push_back(fmt::format("{}: {}", what, newer));
  }

  // Of a file that was read, whose format alone is an error of use.
  void report_read(const std::string& what, const std::optional<Error>& problem) {
    if (problem && problem->code() == ExitCode::usage) {
      report_newer(what, problem->what());
    } else {
      report(what, problem);
    }
  }

  void report(const std::string& what, const std::optional<Error>& problem) {
    if (!problem) return;
    (run_.latest() ? all_.notes : all_.problems)
        .push_back(fmt::format("{}: {}", what, problem->what()));
  }

  const RunFolder& run_;
  LineageFindings& all_;
};

void verify_origin(const RunFolder& run, const PathSpecification& path, LineageFindings& all) {
  if (path.kind != "path" || path.lineage.empty()) return;
  const LineageEntry& fork = path.lineage.back();
  OriginChecks checks(run, all);
  if (fork.replayed) {
    if (run.latest()) return;  // its own first step is the fork point
    checks.add_replay_plan();
    const ReplayedFrom& from = *fork.replayed;
    if (!from.checkpoint.empty())
      checks.add("fork point is made from", replay_origin(from), !from.imported_step);
    return;
  }
  if (fork.checkpoint.empty()) return;  // a random start
  checks.add("fork point", fork, !fork.average && !fork.imported);
  const auto member = member_with_moments(fork);
  if (member) checks.add("moments come from", *member, true);
}

void verify_pins(const RunFolder& run, LineageFindings& all) {
  for (const Pin& pin : read_pins(run.folder())) {
    if (!pin.problem.empty()) all.problems.push_back(pin.problem);
    if (!pin.counts || pin.checkpoint.empty()) continue;
    if (describe_newer_format(checkpoint_folder(run.checkpoints(), pin.step))) continue;
    const auto name = pin.branch.string();
    const auto problem = problem_of([&] {
      const auto id = id_of(run, pin.step);
      check(id.has_value(), ExitCode::storage, "pins",
            "step {}, which branch '{}' begins with, is not there", pin.step, name);
      check(*id == pin.checkpoint, ExitCode::storage, "pins",
            "branch '{}' begins with checkpoint {} of step {}, but {} is there", name,
            pin.checkpoint, pin.step, *id);
    });
    if (problem) all.problems.emplace_back(problem->what());
  }
}

}  // namespace

std::optional<std::string> id_of(const RunFolder& run, int64_t step) {
  if (!run.has(step)) return std::nullopt;
  return CheckpointReader(checkpoint_folder(run.checkpoints(), step)).info().id;
}

LineageFindings verify_lineage(const RunFolder& run, const PathSpecification& path) {
  LineageFindings all;
  verify_origin(run, path, all);
  verify_pins(run, all);
  return all;
}

}  // namespace switchyard
