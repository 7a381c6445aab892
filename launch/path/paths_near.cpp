#include "launch/path/paths_near.h"

#include <set>

namespace fs = std::filesystem;

namespace switchyard {

namespace {

struct Search {
  std::set<fs::path> seen;  // real places
  std::vector<fs::path> found;

  void look_into(const fs::path& directory, int levels) {
    std::error_code problem;
    const bool in_path = fs::exists(directory / "path.json", problem);
    for (auto it = fs::directory_iterator(directory, problem);
         !problem && it != fs::directory_iterator(); it.increment(problem)) {
      std::error_code ignored, unreadable;
      const fs::path folder = it->path();
      if (!it->is_directory(ignored)) continue;
      if (in_path && is_part_of_path(folder)) continue;
      const bool is_path = fs::exists(folder / "path.json", unreadable) || unreadable;
      if (is_path && seen.insert(fs::weakly_canonical(folder, ignored)).second) {
        found.push_back(folder);
      }
      const bool hidden = folder.filename().string().starts_with('.');  // many, of other programs
      if (levels > 1 && !hidden) look_into(folder, levels - 1);
    }
  }
};

// The directory that a place lies in, or the nearest above it that is there.
fs::path directory_of(const fs::path& place) {
  std::error_code ignored;
  fs::path directory = fs::absolute(place).lexically_normal();
  if (!directory.has_filename()) directory = directory.parent_path();
  do {
    directory = directory.parent_path();
  } while (!fs::is_directory(directory, ignored) && directory.has_relative_path());
  return directory;
}

}  // namespace

bool is_part_of_path(const fs::path& folder) {
  const auto name = folder.filename();
  return name == "checkpoints" || name == "discarded" || name == "pins";
}

std::vector<fs::path> paths_near(std::span<const fs::path> places) {
  Search search;
  std::set<fs::path> done;
  for (const fs::path& place : places) {
    const fs::path directory = directory_of(place);
    for (const fs::path& root : {directory, directory.parent_path()}) {
      if (!done.insert(root).second) continue;
      search.look_into(root, root.has_relative_path() ? 2 : 1);  // of / only what lies in it
    }
  }
  return search.found;
}

}  // namespace switchyard
