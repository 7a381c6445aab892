#include "launch/path/foreign_folder.h"

#include <fmt/core.h>

#include <algorithm>
#include <vector>

namespace fs = std::filesystem;

namespace switchyard {

namespace {

struct Mark {
  std::vector<const char*> names;  // all of them
  const char* of;
};

const std::vector<Mark>& marks() {
  static const std::vector<Mark> all = {
      {{".git"}, "a checkout"},
      {{".hg"}, "a checkout"},
      {{".svn"}, "a checkout"},
      {{".bashrc"}, "a home folder"},
      {{".profile"}, "a home folder"},
      {{".zshrc"}, "a home folder"},
      {{".ssh"}, "a home folder"},
      {{"bin", "lib"}, "an installation"},
      {{"config.json", "model.safetensors"}, "a published model"},
      {{"config.json", "model.safetensors.index.json"}, "a published model"},
      {{"config.json", "pytorch_model.bin"}, "a published model"},
      {{"config.json", "pytorch_model.bin.index.json"}, "a published model"},
  };
  return all;
}

std::string path_within(const fs::path& folder) {
  std::error_code problem, ignored;
  for (fs::directory_iterator it(folder, problem), end; !problem && it != end;
       it.increment(problem)) {
    if (fs::exists(it->path() / "path.json", ignored)) return it->path().filename().string();
  }
  return "";
}

}  // namespace

std::string foreign_contents(const fs::path& folder) {
  std::error_code ignored;
  const fs::path whole = fs::weakly_canonical(fs::absolute(folder), ignored);
  if (whole == whole.root_path()) return "is the root of the file system";
  for (const Mark& mark : marks()) {
    const auto is_there = [&](const char* name) { return fs::exists(folder / name, ignored); };
    if (!std::ranges::all_of(mark.names, is_there)) continue;
    std::string names = mark.names.front();
    if (mark.names.size() > 1) names += fmt::format(" and {}", mark.names.back());
    return fmt::format("holds {}, as {} does", names, mark.of);
  }
  const std::string path = path_within(folder);
  return path.empty() ? "" : fmt::format("is a folder of paths: it holds '{}'", path);
}

}  // namespace switchyard
