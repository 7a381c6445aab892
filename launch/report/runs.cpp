#include <algorithm>
#include <map>

#include "core/error.h"
#include "launch/path/options.h"
#include "launch/path/path_tree.h"
#include "launch/path/run_folder.h"
#include "launch/report/report.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

fs::path real_name(const fs::path& folder) {
  std::error_code ignored;
  return fs::weakly_canonical(folder, ignored);
}

fs::path folder_of(const std::string& given) {
  std::error_code ignored;
  check(!given.empty() && fs::exists(given, ignored), ExitCode::usage, "report",
        "'{}' is not there; a path's folder, or one that holds paths, is allowed", given);
  check(fs::is_directory(given, ignored), ExitCode::usage, "report",
        "'{}' is not a folder; a path's folder, or one that holds paths, is allowed", given);
  return given;
}

// Each path once, those of the folder that was given first.
std::vector<ListedPath> find_paths(const std::vector<std::string>& runs) {
  std::vector<ListedPath> all;
  std::map<fs::path, size_t> places;
  for (const auto& given : runs) {
    for (auto& listed : list_paths(folder_of(given))) {
      if (places.try_emplace(real_name(listed.folder), all.size()).second) {
        all.push_back(std::move(listed));
      }
    }
  }
  for (auto& each : all) {
    const auto parent = each.origin.empty() ? places.end() : places.find(real_name(each.origin));
    each.parent.reset();
    if (parent != places.end() && &all[parent->second] != &each) each.parent = parent->second;
  }
  return all;
}

// Behind what it comes from, by fork step; then those that name each other as parents.
std::vector<size_t> parents_first(const std::vector<ListedPath>& all) {
  std::vector<size_t> order;
  std::vector<bool> done(all.size());
  const auto append = [&](const auto& self, size_t i) -> void {
    if (done[i]) return;
    done[i] = true;
    order.push_back(i);
    std::vector<size_t> children;
    for (size_t j = 0; j < all.size(); ++j) {
      if (all[j].parent == i) children.push_back(j);
    }
    std::ranges::stable_sort(children, {}, [&](size_t j) { return all[j].origin_steps; });
    for (const size_t j : children) self(self, j);
  };
  for (const bool roots_only : {true, false}) {
    for (size_t i = 0; i < all.size(); ++i) {
      if (!roots_only || !all[i].parent) append(append, i);
    }
  }
  return order;
}

// The folder that holds all of them: names are shown as seen from there.
fs::path root_of(const std::vector<ListedPath>& all) {
  fs::path root = real_name(all.front().folder).parent_path();
  for (const auto& each : all) {
    const fs::path folder = real_name(each.folder).parent_path();
    const auto [mine, its] = std::ranges::mismatch(root, folder);
    fs::path common;
    for (auto part = root.begin(); part != mine; ++part) common /= *part;
    root = common;
  }
  return root;
}

ReportPath shown(const ListedPath& listed, const std::string& name) {
  ReportPath path{.name = name, .folder = listed.folder};
  path.problem = listed.problem;
  path.code = listed.code;
  if (!listed.origin_steps.empty()) path.fork_step = listed.origin_steps.back();
  // Paths count their steps from published weights on.
  if (listed.path && (listed.path->begins_with_weights() || !listed.path->has_training_options()))
    path.fork_step = 0;
  return path;
}

}  // namespace

ReportInput report_of_runs(const std::vector<std::string>& runs) {
  for (const auto& given : runs) {
    check(!parse_run_reference(given).step, ExitCode::usage, "report",
          "'{}' is a step of a path; a path's folder, or one that holds paths, is allowed, without "
          "a step",
          given);
  }
  const auto all = find_paths(runs);
  check(!all.empty(), ExitCode::usage, "report",
        "no path was found in or below {}; a path's folder, or one that holds paths, is allowed",
        show(runs));
  const fs::path root = root_of(all);
  ReportInput input;
  std::vector<std::string> names;
  names.reserve(all.size());
  for (const auto& each : all) {
    names.push_back(real_name(each.folder).lexically_relative(root).string());
  }
  for (const size_t i : parents_first(all)) {
    input.paths.push_back(shown(all[i], names[i]));
    if (all[i].parent) input.paths.back().parent = names[*all[i].parent];
  }
  input.title = all.size() == 1 ? names.front() : root.filename().string();
  return input;
}

}  // namespace switchyard
