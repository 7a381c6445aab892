#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace switchyard {

// The string in the field `key` of a line that is one JSON object. Throws Error naming file and
// line for invalid JSON or UTF-8, and a field that is missing, twice there, or not a string.
std::string json_text(std::string_view line, const std::string& key, const std::string& file,
                      int64_t line_number);

}  // namespace switchyard
