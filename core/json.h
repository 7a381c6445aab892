#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

// Text of JSON and back. The library's parser and printer are compiled here alone: a source that
// called them itself would take two seconds longer.
namespace switchyard {

using Json = nlohmann::ordered_json;

// Throws nlohmann::json::parse_error for a text that is no JSON.
Json parse_json(std::string_view text);
// The same for files of others; throws Error, which begins with `where`, for a text that is no
// JSON, a name twice in one object or more than 64 levels.
Json parse_foreign_json(std::string_view text, std::string_view where);
// is_discarded() for a text that is none.
Json parse_json_or_discard(std::string_view text);

// The texts of others: no value is made, so that their size and nesting cost what `events` keeps.
// False where `events` stopped it; what is no JSON goes to its parse_error().
using JsonEvents = nlohmann::json_sax<Json>;
bool parse_json(std::string_view text, JsonEvents& events);

// On one line, or with `indent` spaces a level. Throws nlohmann::json::type_error where a string is
// not UTF-8.
std::string json_text(const Json& value, int indent = -1);
// On one line, with U+FFFD for bytes that are not UTF-8.
std::string json_text_replacing(const Json& value);

}  // namespace switchyard
