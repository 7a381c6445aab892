#include "core/json.h"

namespace switchyard {

Json parse_json(std::string_view text) { return Json::parse(text); }

Json parse_json_or_discard(std::string_view text) { return Json::parse(text, nullptr, false); }

bool parse_json(std::string_view text, JsonEvents& events) {
  return Json::sax_parse(text, &events);
}

std::string json_text(const Json& value, int indent) { return value.dump(indent); }

std::string json_text_replacing(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace switchyard
