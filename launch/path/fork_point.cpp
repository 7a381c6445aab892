#include "launch/path/fork_point.h"

#include <algorithm>
#include <iterator>

#include "core/error.h"
#include "core/logging.h"
#include "core/printable.h"
#include "launch/path/imported.h"
#include "launch/path/leaving_steps.h"
#include "launch/path/paths_near.h"
#include "launch/path/pins.h"
#include "launch/path/problem_of.h"
#include "launch/path/relative_name.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

ForkPoint open(const fs::path& place, const LineageEntry& fork) {
  const RunFolder parent(place);
  const auto entry = parent.checkpoint(fork.saved_step());
  const CheckpointInfo info = CheckpointReader(entry.folder).info();
  check(is_checkpoint_of(fork, info), "fork",
        "step {} of '{}' is checkpoint {}; this branch was forked from {}", fork.saved_step(),
        place.string(), info.id, fork.checkpoint);
  return {parent, entry};
}

bool is_there(const fs::path& place, const LineageEntry& fork) {
  try {
    open(place, fork);
    return true;
  } catch (const Error&) {
    return false;
  }
}

bool has_path(const fs::path& place) {
  std::error_code ignored;
  return fs::exists(place / "path.json", ignored);
}

// A path that took the parent's place since, and its steps, are no damage.
std::optional<Error> damage_at(const fs::path& place, const LineageEntry& fork,
                               const RunFolder& branch) {
  if (!has_path(place)) return std::nullopt;
  const int64_t step = fork.saved_step();
  const bool is_gone = !RunFolder(place).has(step);
  if (is_gone && !is_pinned_for(place, step, branch.folder())) return std::nullopt;
  const auto problem = problem_of([&] { open(place, fork); });
  if (!problem || (!is_gone && problem->code() != ExitCode::storage)) return std::nullopt;
  return Error(problem->what(), ExitCode::storage);
}

// Of the first place that has any.
std::optional<Error> damage_at(const std::vector<fs::path>& all, const LineageEntry& fork,
                               const RunFolder& branch) {
  for (const fs::path& place : all) {
    try {
      if (auto damage = damage_at(place, fork, branch)) return damage;
    } catch (const Error&) {  // neither it nor its pins can be looked into
    }
  }
  return std::nullopt;
}

// Where the name says; throws Error, which says who looks for it there.
ForkPoint open_as_named(const RunFolder& branch, const LineageEntry& fork,
                        const std::vector<fs::path>& all) {
  std::error_code ignored;
  const auto found =
      std::ranges::find_if(all, [&](const fs::path& p) { return fs::exists(p, ignored); });
  const fs::path& place = found != all.end() ? *found : all.front();
  bool is_gone = false;
  try {
    is_gone = has_path(place) && !RunFolder(place).has(fork.saved_step());
    return open(place, fork);
  } catch (const Error& problem) {
    throw Error(fmt::format("{}; the branch '{}' starts there at step {}", problem.what(),
                            branch.folder().string(), fork.saved_step()),
                is_gone ? ExitCode::storage : problem.code());
  }
}

}  // namespace

ForkPoint find_fork_point(const RunFolder& branch, const LineageEntry& fork) {
  const auto all = places({fork.path, fork.path_as_given}, branch.folder());
  if (branch.exists()) {
    for (const fs::path& place : all) rescue_pinned(RunFolder(place), fork.saved_step());
  }
  const auto found =
      std::ranges::find_if(all, [&](const fs::path& p) { return is_there(p, fork); });
  if (found != all.end()) return open(*found, fork);
  std::vector<fs::path> around = {branch.folder()};  // either may have been moved
  around.insert(around.end(), all.begin(), all.end());
  for (const fs::path& near : paths_near(around)) {
    if (!is_there(near, fork)) continue;
    ForkPoint copy = open(near, fork);
    copy.damage = damage_at(all, fork, branch);
    return copy;
  }
  return open_as_named(branch, fork, all);
}

std::string describe_damage(const ForkPoint& point) {
  if (!point.damage) return "";
  return fmt::format("{}; its copy in '{}' is read instead", point.damage->what(),
                     printable(point.parent.folder().string()));
}

std::optional<ForkPoint> find_other_copy(const RunFolder& branch, const LineageEntry& fork,
                                         std::span<const fs::path> known, bool with_moments) {
  auto all = places({fork.path, fork.path_as_given}, branch.folder());
  std::vector<fs::path> around = {branch.folder()};
  around.insert(around.end(), all.begin(), all.end());
  std::ranges::copy(paths_near(around), std::back_inserter(all));
  for (const fs::path& place : all) {
    const auto is_same = [&](const fs::path& other) {
      std::error_code ignored;
      return fs::equivalent(place, other, ignored);
    };
    if (std::ranges::any_of(known, is_same) || !is_there(place, fork)) continue;
    ForkPoint copy = open(place, fork);
    if (!with_moments || has_moments(copy.entry)) return copy;
  }
  return std::nullopt;
}

LineageEntry replay_origin(const ReplayedFrom& from) {
  return {.path = from.path,
          .checkpoint = from.checkpoint,
          .step = from.saved_step(),
          .path_as_given = from.path_as_given};
}

std::optional<ForkPoint> find_replay_origin(const RunFolder& branch, const ReplayedFrom& from) {
  if (from.checkpoint.empty()) return std::nullopt;
  return find_fork_point(branch, replay_origin(from));
}

bool pin_fork_point(const RunFolder& parent, int64_t step, const std::string& checkpoint,
                    const RunFolder& branch) {
  try {
    write_pin(parent.folder(), step, checkpoint, branch.folder());
    return true;
  } catch (const Error& problem) {
    log::warning("{}; nothing keeps step {} of '{}', so the first start saves it in '{}'",
                 problem.what(), step, parent.folder().string(), branch.folder().string());
    return false;
  }
}

void pin_published(const RunFolder& weights, const LineageEntry& fork, const RunFolder& path) {
  try {
    write_pin(weights.folder(), fork.saved_step(), fork.checkpoint, path.folder());
  } catch (const Error& problem) {
    log::warning("{}; nothing keeps step {} of '{}', with which '{}' begins", problem.what(),
                 fork.saved_step(), weights.folder().string(), path.folder().string());
  }
}

}  // namespace switchyard
