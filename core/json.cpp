#include "core/json.h"

#include <set>
#include <vector>

#include "core/error.h"

namespace switchyard {

Json parse_json(std::string_view text) { return Json::parse(text); }

Json parse_foreign_json(std::string_view text, std::string_view where) {
  constexpr int most_levels = 64;
  check(text.find('\0') == text.npos, where, "it is no JSON: it has a NUL");  // the parser's end
  std::vector<std::set<std::string>> names;  // of the objects around
  const auto look = [&](int depth, Json::parse_event_t event, Json& parsed) {
    check(depth <= most_levels, where, "its JSON is nested deeper than {} levels", most_levels);
    if (event == Json::parse_event_t::object_start) names.emplace_back();
    if (event == Json::parse_event_t::object_end) names.pop_back();
    if (event == Json::parse_event_t::key) {
      const auto name = parsed.get<std::string>();
      check(names.back().insert(name).second, where, "it has '{}' twice in one object", name);
    }
    return true;
  };
  try {
    return Json::parse(text, look);
  } catch (const nlohmann::json::exception& problem) {
    const std::string_view said = problem.what();  // "[json.exception.parse_error.101] ..."
    fail(where, "it is no JSON: {}", said.substr(said.find("] ") + 2));
  }
}

Json parse_json_or_discard(std::string_view text) { return Json::parse(text, nullptr, false); }

bool parse_json(std::string_view text, JsonEvents& events) {
  return Json::sax_parse(text, &events);
}

std::string json_text(const Json& value, int indent) { return value.dump(indent); }

std::string json_text_replacing(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace switchyard
