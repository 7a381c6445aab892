#include "launch/path/path_tree.h"

#include <algorithm>
#include <map>
#include <set>

#include "core/error.h"
#include "launch/path/fork_point.h"
#include "launch/path/paths_near.h"
#include "launch/path/unfinished_folder.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

bool is_there(const fs::path& file) {
  std::error_code ignored;
  return fs::exists(file, ignored);
}

// A path, or what is left of one.
bool looks_like_path(const fs::path& folder) {
  return is_there(folder / "path.json") || is_there(folder / "checkpoints") ||
         is_there(folder / "metrics.jsonl");
}

// Links are left for later, as what they lead to may have its own name here.
void find_folders(const fs::path& folder, std::set<fs::path>& seen, std::vector<fs::path>& found,
                  std::vector<fs::path>& links) {
  std::error_code problem;
  const fs::path real = fs::canonical(folder, problem);
  if (problem || !seen.insert(real).second) return;
  const bool is_path = looks_like_path(folder);
  if (is_path) found.push_back(folder);
  std::vector<fs::path> below;
  for (auto entry = fs::directory_iterator(folder, problem);
       !problem && entry != fs::directory_iterator(); entry.increment(problem)) {
    std::error_code ignored;
    if (!entry->is_directory(ignored) || is_unfinished(entry->path())) continue;
    if (is_path && is_part_of_path(entry->path())) continue;
    (entry->is_symlink(ignored) ? links : below).push_back(entry->path());
  }
  std::ranges::sort(below);
  for (const auto& each : below) find_folders(each, seen, found, links);
}

// Where its parent lies by name or, when that was renamed, nearby.
fs::path parent_of(const RunFolder& run, const LineageEntry& fork) {
  fs::path named = place_of({fork.path, fork.path_as_given}, run.folder());
  std::error_code ignored;
  if (fs::exists(named / "path.json", ignored)) return named;
  try {
    return find_fork_point(run, fork).parent.folder();
  } catch (const Error&) {
    return named;
  }
}

ListedPath read_path(const fs::path& folder) {
  ListedPath listed;
  listed.folder = folder;
  try {
    const RunFolder run(folder);
    listed.path = run.read();
    listed.state = state_of(run, *listed.path);
    if (listed.path->kind == "average") {
      const auto source =
          source_of_average(run, CheckpointReader(run.checkpoint(std::nullopt).folder));
      listed.origin = source.run;
      listed.origin_steps = source.steps;
      listed.origin_others = source.others;
    } else if (!listed.path->lineage.empty()) {
      const auto& fork = listed.path->lineage.back();
      listed.origin = parent_of(run, fork).string();
      listed.origin_steps = {fork.saved_step()};
    }
  } catch (const std::exception& problem) {
    listed.problem = problem.what();
    listed.code = code_of(problem);
  }
  return listed;
}

fs::path real_name(const fs::path& folder) {
  std::error_code ignored;
  return fs::weakly_canonical(folder, ignored);
}

void find_parents(std::vector<ListedPath>& all) {
  std::map<fs::path, size_t> places;
  for (size_t i = 0; i < all.size(); ++i) places[real_name(all[i].folder)] = i;
  for (auto& each : all) {
    if (each.origin.empty()) continue;
    const auto found = places.find(real_name(each.origin));
    if (found != places.end() && &all[found->second] != &each) each.parent = found->second;
  }
}

// Appends all[i] and what comes from it, by fork point.
void append(const std::vector<ListedPath>& all, size_t i, int depth, std::vector<bool>& done,
            std::vector<ListedPath>& ordered) {
  if (done[i]) return;
  done[i] = true;
  const size_t place = ordered.size();
  ordered.push_back(all[i]);
  ordered.back().depth = depth;
  ordered.back().parent.reset();
  std::vector<size_t> children;
  for (size_t j = 0; j < all.size(); ++j) {
    if (all[j].parent == i) children.push_back(j);
  }
  std::ranges::stable_sort(children, {}, [&](size_t j) { return all[j].origin_steps; });
  for (const size_t j : children) {
    const size_t at = ordered.size();
    append(all, j, depth + 1, done, ordered);
    if (at < ordered.size()) ordered[at].parent = place;
  }
}

}  // namespace

std::vector<ListedPath> list_paths(const fs::path& folder) {
  std::error_code problem;
  check(fs::is_directory(folder, problem), "list", "'{}' is not a folder; a folder is allowed",
        folder.string());
  std::set<fs::path> seen;
  std::vector<fs::path> found, links = {folder};
  for (size_t i = 0; i < links.size(); ++i) {
    const fs::path next = links[i];
    find_folders(next, seen, found, links);
  }
  std::ranges::sort(found);
  std::vector<ListedPath> all, ordered;
  for (const auto& each : found) all.push_back(read_path(each));
  find_parents(all);
  std::vector<bool> done(all.size());
  for (const bool roots_only : {true, false}) {  // then those that name each other as parents
    for (size_t i = 0; i < all.size(); ++i) {
      if (!roots_only || !all[i].parent) append(all, i, 0, done, ordered);
    }
  }
  return ordered;
}

}  // namespace switchyard
