#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "launch/path/path_state.h"

namespace switchyard {

// A path as `inspect` shows it: a label and its lines.
using Rows = std::vector<std::pair<std::string, std::vector<std::string>>>;

// checkpoint: null for a path that has none yet.
Rows summarize(const RunFolder& run, const PathSpecification& path, const PathState& state,
               const CheckpointReader* checkpoint);

// A pin of this path's step for a branch, which may be gone.
struct PinnedBranch {
  int64_t step = 0;
  std::string branch;  // seen from the working directory
};
std::vector<PinnedBranch> pinned_branches(const RunFolder& run);

}  // namespace switchyard
