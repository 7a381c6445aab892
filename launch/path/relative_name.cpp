#include "launch/path/relative_name.h"

#include <algorithm>

#include "core/error.h"
#include "core/json.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

fs::path without_slash(const fs::path& path) {
  return path.has_filename() ? path : path.parent_path();
}

fs::path as_given(const fs::path& folder) {
  return without_slash(fs::absolute(folder).lexically_normal());
}

}  // namespace

fs::path real_place(const fs::path& folder) {
  std::error_code problem;  // what cannot be looked into is taken by its name
  const fs::path real = fs::weakly_canonical(as_given(folder), problem);
  return problem ? as_given(folder) : without_slash(real);
}

void check_is_text(const std::string& name) {
  check(is_text(name), "path",
        "'{}' is not UTF-8, as names must be that are written into a path's files; rename it",
        name);
}

bool is_text(const std::string& name) {
  try {
    return !json_text(Json(name)).empty();
  } catch (const nlohmann::json::type_error&) {
    return false;
  }
}

RelativeName relative_name(const fs::path& to, const fs::path& from) {
  RelativeName name{real_place(to).lexically_proximate(real_place(from)).string(),
                    as_given(to).lexically_proximate(as_given(from)).string()};
  if (name.given == name.real) name.given.clear();
  for (const std::string& each : {name.real, name.given}) check_is_text(each);
  return name;
}

fs::path place_as_named(const RelativeName& name, const fs::path& from) {
  const std::string& relative = name.given.empty() ? name.real : name.given;
  return relative.empty() ? fs::path() : (from / relative).lexically_normal();
}

std::vector<fs::path> places(const RelativeName& name, const fs::path& from) {
  std::vector<fs::path> all;
  for (const fs::path& base : {real_place(from), as_given(from)}) {
    for (const std::string& relative : {name.real, name.given}) {
      if (relative.empty()) continue;
      const fs::path place = (base / relative).lexically_normal();
      if (std::ranges::find(all, place) == all.end()) all.push_back(place);
    }
  }
  return all;
}

}  // namespace switchyard
