#include "launch/path/sealed_json.h"

#include <fmt/core.h>
#include <xxhash.h>

#include <algorithm>

namespace switchyard {

namespace {

std::string with_seal(const std::string& object) {
  return fmt::format("{},\"{}\":\"{:016x}\"}}\n", object.substr(0, object.size() - 1), json_seal,
                     XXH3_64bits(object.data(), object.size()));
}

}  // namespace

std::string sealed_text(const Json& object) { return with_seal(json_text(object)); }

bool is_as_written(const Json& parsed, const std::string& text,
                   std::span<const std::string_view> unsealed) {
  if (!parsed.is_object()) return false;
  if (!parsed.contains(json_seal)) {
    return std::ranges::all_of(parsed.items(), [&](const auto& part) {
      return std::ranges::find(unsealed, part.key()) != unsealed.end();
    });
  }
  static const size_t added = with_seal("}").size();
  return text.size() >= added && text == with_seal(text.substr(0, text.size() - added) + "}");
}

}  // namespace switchyard
