#include "parallel/checkpoint/strict_json.h"

#include <algorithm>

#include "core/error.h"

namespace switchyard {

namespace {

constexpr size_t longest_shown = 100;

std::string cut(std::string_view text) {
  if (text.size() <= longest_shown) return std::string(text);
  return fmt::format("{}...", text.substr(0, longest_shown));
}

}  // namespace

void StrictEvents::read(std::string_view json, const std::string& text) {
  text_ = text;
  bytes_ = json.size();
  // The parser takes a NUL for the end.
  const size_t nul = json.find('\0');
  check(nul == std::string_view::npos, "safetensors", "{} is not JSON: byte {} of it is NUL", text,
        nul);
  parse_json(json, *this);
}

bool StrictEvents::number_float(number_float_t, const string_t& digits) {
  return unexpected(cut(digits));
}

bool StrictEvents::parse_error(size_t position, const std::string&, const Json::exception&) {
  fail("safetensors", "{} is not JSON; its first {} bytes were read", text_,
       std::min(position, bytes_));
}

std::string in_quotes(std::string_view name) { return json_text_replacing(Json(cut(name))); }

}  // namespace switchyard
