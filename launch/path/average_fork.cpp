#include "launch/path/average_fork.h"

#include "core/error.h"
#include "core/json.h"
#include "launch/path/average_members.h"
#include "launch/path/fork_point.h"
#include "launch/path/pins.h"
#include "launch/path/relative_name.h"
#include "parallel/checkpoint/state_groups.h"

namespace switchyard {

namespace {

// The last member, named from the average's folder.
LineageEntry newest_member(const RunFolder& mean, const CheckpointInfo& info) {
  const auto members = members_in(info);
  const auto source = info.documents.find("source");
  check(!members.empty() && source != info.documents.end(), "fork",
        "'{}' does not say what it is the mean of, so no moments go with it; --moments fresh is "
        "allowed",
        mean.folder().string());
  const auto name = parse_json(source->second);
  return {.path = name.value("path", ""),
          .checkpoint = members.back().checkpoint,
          .step = members.back().step,
          .path_as_given = name.value("path_as_given", "")};
}

}  // namespace

AverageFork average_fork(const RunFolder& mean, const CheckpointInfo& info, const RunFolder& branch,
                         const std::string& moments) {
  if (moments == "fresh") return {.moments = moments};
  if (branch.exists()) {  // the member may be gone since the branch was made
    const auto path = branch.read();
    const bool is_of_mean = !path.lineage.empty() && path.lineage.back().checkpoint == info.id;
    const auto& made = path.lineage.empty() ? std::nullopt : path.lineage.back().average;
    if (is_of_mean && made && made->moments == moments) return *made;
  }
  const LineageEntry newest = newest_member(mean, info);
  try {
    const auto found = find_fork_point(mean, newest);
    check(has_group(CheckpointReader(found.entry.folder), groups::exp_avg), "fork",
          "step {} of '{}' has no moments", newest.step, found.parent.folder().string());
    const auto name = relative_name(found.parent.folder(), branch.folder());
    return {.moments = moments,
            .path = name.real,
            .checkpoint = newest.checkpoint,
            .path_as_given = name.given};
  } catch (const Error& problem) {
    throw Error(fmt::format("{}; --moments newest needs that step, the newest that '{}' is the "
                            "mean of: --moments fresh is allowed",
                            problem.what(), mean.folder().string()),
                problem.code());
  }
}

std::optional<LineageEntry> member_with_moments(const LineageEntry& fork) {
  if (!fork.average || fork.average->path.empty()) return std::nullopt;
  LineageEntry member = fork;
  member.path = fork.average->path;
  member.checkpoint = fork.average->checkpoint;
  member.path_as_given = fork.average->path_as_given;
  member.average.reset();
  return member;
}

bool pin_moments(const RunFolder& branch, const LineageEntry& fork) {
  const auto member = member_with_moments(fork);
  if (!member) return true;
  try {
    const auto found = find_fork_point(branch, *member);
    return pin_fork_point(found.parent, member->step, member->checkpoint, branch);
  } catch (const Error&) {
    return false;  // it is gone, as a branch that has gone on may see it
  }
}

void unpin_moments(const RunFolder& branch, const LineageEntry& fork) {
  const auto member = member_with_moments(fork);
  if (!member) return;
  try {
    remove_pin(find_fork_point(branch, *member).parent.folder(), member->step, branch.folder());
  } catch (const Error&) {
    return;  // it is gone, and its pins with it
  }
}

std::string describe_moments(const LineageEntry& fork) {
  if (!fork.average) return "";
  if (fork.average->path.empty()) return " with fresh moments";
  return fmt::format(", with the moments of its newest member, step {}", fork.step);
}

}  // namespace switchyard
