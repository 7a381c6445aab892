#pragma once

#include <optional>
#include <span>
#include <string>

#include "core/error.h"
#include "launch/path/run_folder.h"

namespace switchyard {

// The saved step of another path that a branch starts from.
struct ForkPoint {
  RunFolder parent;
  CheckpointEntry entry;
  // Of a copy: what is wrong with the step in the parent that its name means. Nothing where that
  // has only moved.
  std::optional<Error> damage = {};
};

// Where it lies now, told by the checkpoint's id from what else its name may mean. Throws Error
// where it is not there, of code `storage` where its parent is.
ForkPoint find_fork_point(const RunFolder& branch, const LineageEntry& fork);
// What a start says that reads a copy for the parent's damaged step; empty: it reads no such copy.
std::string describe_damage(const ForkPoint& point);

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
