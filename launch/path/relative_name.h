#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace switchyard {

// Whether a name is UTF-8, as JSON wants; the second throws Error where it is not.
bool is_text(const std::string& name);
void check_is_text(const std::string& name);

// Absolute, all symbolic links followed as far as it is there, without a slash at its end.
std::filesystem::path real_place(const std::filesystem::path& folder);

// How a folder is named from another, so that both may be moved together.
struct RelativeName {
  std::string real;   // between the real places, all symbolic links followed
  std::string given;  // between the names as given; empty where it is the same
};
RelativeName relative_name(  // throws Error for a name that is not UTF-8
    const std::filesystem::path& to, const std::filesystem::path& from);

// The places that the name may mean, seen from `from` by its real place and by the name it now has:
// links may have been made, moved or replaced since. What is meant is told by what lies there.
std::vector<std::filesystem::path> places(const RelativeName& name,
                                          const std::filesystem::path& from);

// The first name as a reader of `from` would write it, by names alone and not looked for: "runs/a"
// for "../a" and runs/b. For messages.
std::filesystem::path place_as_named(const RelativeName& name, const std::filesystem::path& from);

}  // namespace switchyard
