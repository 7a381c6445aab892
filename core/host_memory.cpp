#include "core/host_memory.h"

#include <fmt/core.h>
#include <sys/resource.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <string>
#include <utility>

namespace switchyard {

namespace fs = std::filesystem;

namespace {

constexpr int64_t no_limit = std::numeric_limits<int64_t>::max();

// "max" and what cannot be read are no number.
std::optional<int64_t> number_in(const fs::path& file) {
  std::ifstream in(file);
  int64_t value = 0;
  return in >> value ? std::optional(value) : std::nullopt;
}

// Of a line such as "MemAvailable: 123 kB" or "inactive_file 123".
std::optional<int64_t> number_behind(const fs::path& file, const std::string& key) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string first;
    int64_t value = 0;
    if (words >> first >> value && first == key) return value;
  }
  return std::nullopt;
}

struct Names {
  const char *limit, *used, *cache;
};

// The least that a group or one above it leaves; pages of files that nobody uses can be had.
int64_t left_by_groups(const fs::path& mount, fs::path group, const Names& names) {
  int64_t least = no_limit;
  for (group = group.relative_path();; group = group.parent_path()) {
    const fs::path folder = mount / group;
    const auto limit = number_in(folder / names.limit), used = number_in(folder / names.used);
    if (limit && used) {
      const int64_t cache = number_behind(folder / "memory.stat", names.cache).value_or(0);
      least = std::min(least, std::max<int64_t>(0, *limit - std::max<int64_t>(0, *used - cache)));
    }
    if (group.empty()) return least;
  }
}

// Lines are "0::/path" (version 2) and "4:memory:/path" (version 1).
int64_t left_by_control_groups(const fs::path& root) {
  int64_t least = no_limit;
  std::ifstream in(root / "proc/self/cgroup");
  for (std::string line; std::getline(in, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = fmt::format(",{},", line.substr(first + 1, second - first - 1));
    const fs::path group = line.substr(second + 1), mounts = root / "sys/fs/cgroup";
    if (controllers == ",,") {
      least = std::min(
          least, left_by_groups(mounts, group, {"memory.max", "memory.current", "inactive_file"}));
    } else if (controllers.find(",memory,") != std::string::npos) {
      least = std::min(least, left_by_groups(mounts / "memory", group,
                                             {"memory.limit_in_bytes", "memory.usage_in_bytes",
                                              "total_inactive_file"}));
    }
  }
  return least;
}

// What `ulimit -v` and `ulimit -d` leave to this process.
int64_t left_by_limits(const fs::path& root) {
  // What a few threads take of it beside what they use: each a stack and a heap.
  constexpr int64_t of_threads = int64_t{512} << 20;
  int64_t least = no_limit;
  for (const auto& [kind, key] : {std::pair(RLIMIT_AS, "VmSize:"), {RLIMIT_DATA, "VmData:"}}) {
    rlimit limit{};
    const auto used = number_behind(root / "proc/self/status", key);
    if (getrlimit(kind, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY || !used) continue;
    const auto most = static_cast<int64_t>(std::min<rlim_t>(limit.rlim_cur, no_limit));
    least = std::min(least, std::max<int64_t>(0, most - *used * 1024 - of_threads));
  }
  return least;
}

}  // namespace

int64_t free_host_bytes(const fs::path& root) {
  const auto kilobytes = number_behind(root / "proc/meminfo", "MemAvailable:");
  return std::min({kilobytes ? *kilobytes * 1024 : no_limit, left_by_control_groups(root),
                   left_by_limits(root)});
}

}  // namespace switchyard
