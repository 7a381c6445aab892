#pragma once

#include <functional>
#include <optional>

#include "launch/average_state.h"
#include "launch/engine/engine.h"
#include "launch/path/fork_point.h"
#include "parallel/mesh.h"

namespace switchyard {

// Gives a copy nearby that it has not given yet, if there is one.
using OtherCopies = std::function<std::optional<ForkPoint>()>;

// The checkpoint that a start goes on from.
struct Origin {
  RunFolder folder;
  CheckpointEntry entry;
  bool is_parent = false;                 // a fork point in the folder of the branch's parent
  bool is_mean = false;                   // of an average: weights alone
  bool is_published = false;              // as a mean, but step 0 of the branch
  std::optional<ForkPoint> moments = {};  // beside a mean; none: fresh ones
  OtherCopies another = {};               // of a fork point
  OtherCopies another_of_moments = {};
  std::vector<std::string> damages = {};  // of parents, whose copies these are; for the log
  int64_t step() const { return is_published ? 0 : entry.step; }  // along the lineage
};

// Copies of a fork point of the branch beside the one that was found.
OtherCopies other_copies(const RunFolder& branch, const LineageEntry& fork, const ForkPoint& found,
                         bool with_moments);

// The fork point of a branch, in its parent's folder, and beside a mean whose moments go with it.
Origin origin_at_fork(const RunFolder& branch, const PathSpecification& path);

// The newest checkpoint of the path, or that of --load-step; for a branch without one its fork
// point, of which its own copy is taken before its parent's. Nothing for a random start. Throws
// Error where it is not there.
std::optional<Origin> find_origin(const RunFolder& run, const PathSpecification& path,
                                  const Settings& given);

// The averages in a path's own checkpoint; none at a random start or a fork point, as a branch
// inherits none. Rank 0 reads for all, and holds what the checkpoint says of its path against
// `path`. Collective; errors are agreed on.
SavedAverages find_averages(const std::optional<Origin>& origin, const PathSpecification& path,
                            Communicator& world);

// Reads weights, moments and counters, and of the averages those that the engine has. Collective;
// errors, which say what else there is to go on from, are agreed on. Where a fork point is damaged
// its copies nearby are tried, as those of a mean's moments are; `origin` is then the one that was
// read, and true returned where it is another. What a rank reads is checked on the way; what nobody
// has read whole, each then checks a part of.
bool load(Origin& origin, const Mesh& mesh, Engine& engine, const SavedAverages& averages = {});

// At a branch's start from its parent: whether it has to keep the fork point itself, as nothing can
// be written into the parent, or as it is a mean with moments of another step. Otherwise the parent
// keeps it from here on. Collective.
bool keeps_fork_point(const RunFolder& run, const PathSpecification& path,
                      const std::optional<Origin>& origin, Communicator& world);

}  // namespace switchyard
