#pragma once

#include <optional>

#include "launch/path/fork_point.h"
#include "launch/path/replay_plan.h"

namespace switchyard {

// Where a branch begins.
struct ForkEntry {
  LineageEntry entry;
  std::optional<ForkPoint> origin{};   // the checkpoint that it needs; none at a random start
  std::string checkpoint{};            // its id
  std::optional<ReplayPlan> replay{};  // how to reach a step that is not saved
  // The checkpoint, or that of the replay, are published weights, without moments.
  bool begins_with_weights() const { return entry.imported || (replay && replay->from_weights); }
};

// The step that is named, or that of the only checkpoint of an average or of published weights;
// throws Error where there are several, and for a path.
int64_t step_to_fork(const RunReference& reference, const PathSpecification& parent);

// Step `step` of the parent: one that it has saved, whose contents are compared with their
// checksums, or one that it has passed; 0 is its random start. For a branch that is there already
// nothing is read, and what its fork point was made from stays. Throws Error for other steps.
ForkEntry fork_entry(const RunFolder& parent, const PathSpecification& path, int64_t step,
                     const RunFolder& branch, bool is_there);

// For a log: what the first start has to do; empty for a step that is saved.
std::string describe_replay(const RunFolder& parent, const RunFolder& branch,
                            const ForkEntry& from);

}  // namespace switchyard
