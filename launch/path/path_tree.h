#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/error.h"
#include "launch/path/path_state.h"

namespace switchyard {

// A path found below a folder.
struct ListedPath {
  std::filesystem::path folder;
  std::string problem;                // why it cannot be read; the rest is then empty
  ExitCode code = ExitCode::reached;  // of that problem
  std::optional<PathSpecification> path;
  PathState state;
  std::optional<size_t> parent;  // its place in the list, when it was found, too
  std::string origin;  // what it comes from: a fork's parent, or the path that it averages
  std::vector<int64_t> origin_steps;       // of that: one, or those averaged
  std::vector<std::string> origin_others;  // of an average, from other paths: RUN@STEP
  int depth = 0;                           // in the tree of forks
};

// All paths in and below `folder`, each behind the one that it comes from. Links are followed, each
// folder is seen once and by its own name where it has one here, averages in the making are not
// paths, and what cannot be looked into is passed over. Throws Error where there is no such folder.
std::vector<ListedPath> list_paths(const std::filesystem::path& folder);

}  // namespace switchyard
