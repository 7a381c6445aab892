#include "launch/path/foreign_folder.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <string>
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
      {{"latest_checkpointed_iteration.txt"}, "a folder of Megatron's checkpoints"},
  };
  return all;
}

// Of Linux (its Filesystem Hierarchy Standard, 3.0); nobody mounts a disk for runs there.
bool is_of_the_system(const fs::path& whole) {
  static constexpr std::array names = {"/bin",  "/boot", "/dev",  "/dev/shm", "/etc",
                                       "/home", "/lib",  "/proc", "/run",     "/sbin",
                                       "/sys",  "/tmp",  "/usr",  "/var",     "/var/tmp"};
  return std::ranges::find(names, whole.string()) != names.end();
}

// The file with weights of a published model, or "".
std::string weights_within(const fs::path& folder) {
  std::error_code problem, ignored;
  if (!fs::exists(folder / "config.json", ignored)) return "";
  for (fs::directory_iterator it(folder, problem), end; !problem && it != end;
       it.increment(problem)) {
    std::string name = it->path().filename().string();
    if (name.ends_with(".safetensors") || name.starts_with("pytorch_model")) return name;
  }
  return "";
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
  std::error_code problem, ignored;
  fs::path whole = fs::weakly_canonical(fs::absolute(folder), problem);
  if (problem) whole = fs::absolute(folder).lexically_normal();  // it cannot be looked into
  if (whole == whole.root_path()) return "is the root of the file system";
  if (is_of_the_system(whole)) return "is a folder of the system";
  for (const Mark& mark : marks()) {
    const auto is_there = [&](const char* name) { return fs::exists(folder / name, ignored); };
    if (!std::ranges::all_of(mark.names, is_there)) continue;
    std::string names = mark.names.front();
    if (mark.names.size() > 1) names += fmt::format(" and {}", mark.names.back());
    return fmt::format("holds {}, as {} does", names, mark.of);
  }
  const std::string weights = weights_within(folder);
  if (!weights.empty()) {
    return fmt::format("holds config.json and {}, as a published model does", weights);
  }
  const std::string path = path_within(folder);
  return path.empty() ? "" : fmt::format("is a folder of paths: it holds '{}'", path);
}

}  // namespace switchyard
