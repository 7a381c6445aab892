#pragma once

#include <span>
#include <string>
#include <string_view>

#include "core/json.h"

// Small files of a run that say themselves whether they are as they were written.
namespace switchyard {

inline constexpr const char* json_seal = "xxh3_64";  // the last part: of the text of all before it

// A line: the object, which is not empty, and its seal.
std::string sealed_text(const Json& object);

// Whether `parsed`, the JSON of `text`, is such an object with the seal that its text has; or one
// of an earlier version, which has no seal and no part of another name than `unsealed`.
bool is_as_written(const Json& parsed, const std::string& text,
                   std::span<const std::string_view> unsealed);

}  // namespace switchyard
