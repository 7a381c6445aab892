#pragma once

#include <span>

#include "launch/path/run_folder.h"

namespace switchyard {

// The saved step of another path that a branch starts from.
struct ForkPoint {
  RunFolder parent;
  CheckpointEntry entry;
};

// Where it lies now, told by the checkpoint's id from what else its name may mean. Throws Error
// where it is not there.
ForkPoint find_fork_point(const RunFolder& branch, const LineageEntry& fork);

// Another copy of it, at its place or nearby, that can be opened and has moments where they are
// needed; nothing where there is none but those of the paths `known`. The copies are not read.
std::optional<ForkPoint> find_other_copy(const RunFolder& branch, const LineageEntry& fork,
                                         std::span<const std::filesystem::path> known,
                                         bool with_moments);

// The checkpoint that the fork point is made from where the parent had not saved it, as a fork
// point of its own.
LineageEntry replay_origin(const ReplayedFrom& from);
// Where it lies now; nothing at a random start. Throws Error where it is not there.
std::optional<ForkPoint> find_replay_origin(const RunFolder& branch, const ReplayedFrom& from);

// Pins it for the branch, and returns whether that was possible: a parent that only others may
// write is forked, too, with a warning.
bool pin_fork_point(const RunFolder& parent, int64_t step, const std::string& checkpoint,
                    const RunFolder& branch);
// The same of published weights, of which a path has no copy of its own: their moments are zeros,
// and weights that nobody may write are not pruned either.
void pin_published(const RunFolder& weights, const LineageEntry& fork, const RunFolder& path);

}  // namespace switchyard
