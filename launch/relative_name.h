#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace switchyard {

// How a folder is named from another, so that both may be moved together.
struct RelativeName {
  std::string real;   // between the real places, all symbolic links followed
  std::string given;  // between the names as given; empty where it is the same
};
RelativeName relative_name(const std::filesystem::path& to, const std::filesystem::path& from);

// The places that the name may mean, seen from `from` by its real place and by the name it now has:
// links may have been made, moved or replaced since. What is meant is told by what lies there.
std::vector<std::filesystem::path> places(const RelativeName& name,
                                          const std::filesystem::path& from);

}  // namespace switchyard
