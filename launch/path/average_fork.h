#pragma once

#include <optional>

#include "launch/path/run_folder.h"

// Branches of averages: the mean's weights, and the newest member's moments or fresh ones.
namespace switchyard {

// --moments of a branch of this average, looked up where it is needed and not known from the branch
// that is there. Throws Error, with the way
// out, for a member that is gone or has no moments.
AverageFork average_fork(const RunFolder& mean, const CheckpointInfo& info, const RunFolder& branch,
                         const std::string& moments);

// The saved step whose moments a branch goes on with, as a fork point (find_fork_point); none for a
// branch of a path, or with fresh moments.
std::optional<LineageEntry> member_with_moments(const LineageEntry& fork);

// Pins that step for the branch, where there is one; false where that is not possible or it is
// gone.
bool pin_moments(const RunFolder& branch, const LineageEntry& fork);
void unpin_moments(const RunFolder& branch, const LineageEntry& fork);

// For a log: " with fresh moments"; empty for a branch of a path.
std::string describe_moments(const LineageEntry& fork);

}  // namespace switchyard
