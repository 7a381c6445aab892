#include "model/exchange/config_reader.h"

#include <cmath>
#include <limits>

#include "core/error.h"

namespace switchyard {

namespace {

// JSON's numbers without a fraction are signed or, above the largest of these, unsigned.
std::optional<int64_t> whole_number(const Json& value) {
  if (!value.is_number_integer()) return std::nullopt;
  if (value.is_number_unsigned() &&
      value.get<uint64_t>() > uint64_t{std::numeric_limits<int64_t>::max()}) {
    return std::numeric_limits<int64_t>::max();
  }
  return value.get<int64_t>();
}

}  // namespace

std::string short_text(const Json& value) {
  constexpr size_t most = 60;
  std::string text = json_text_replacing(value);
  if (text.size() <= most) return text;
  size_t end = most;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0U) == 0x80U) --end;  // UTF-8
  text.resize(end);
  return text + " ...";
}

bool ConfigReader::has(const std::string& key) const {
  return !ignores(key) && object_.contains(key);
}

const Json* ConfigReader::find(const std::string& key) const {
  return has(key) && !object_.at(key).is_null() ? &object_.at(key) : nullptr;
}

bool ConfigReader::is_null(const std::string& key) const {
  return has(key) && object_.at(key).is_null();
}

std::string ConfigReader::quoted(const std::string& key) const {
  if (!object_.contains(key)) return fmt::format("'{}{}' is missing", prefix_, key);
  return fmt::format("'{}{}' is {}", prefix_, key, short_text(object_.at(key)));
}

void ConfigReader::refuse(const std::string& key, std::string_view allowed) const {
  fail(origin_, "{}; {}", quoted(key), allowed);
}

const Json* ConfigReader::given(const std::string& key, bool optional) const {
  const Json* value = has(key) ? &object_.at(key) : nullptr;
  if (value == nullptr && !optional) refuse(key, "it is needed");
  return value;
}

int64_t ConfigReader::whole(const std::string& key, int64_t low, int64_t high,
                            std::optional<int64_t> absent) const {
  const Json* value = given(key, absent.has_value());
  if (value == nullptr) return *absent;
  const auto number = whole_number(*value);
  if (!number || *number < low || *number > high) {
    refuse(key, fmt::format("a whole number from {} to {} is allowed", low, high));
  }
  return *number;
}

double ConfigReader::real(const std::string& key, std::optional<double> absent) const {
  const Json* value = given(key, absent.has_value());
  if (value == nullptr) return *absent;
  if (!value->is_number() || !std::isfinite(value->get<double>())) {
    refuse(key, "a number is allowed");
  }
  return value->get<double>();
}

bool ConfigReader::flag(const std::string& key, bool absent) const {
  const Json* value = given(key, true);
  if (value == nullptr) return absent;
  if (!value->is_boolean()) refuse(key, "true or false is allowed");
  return value->get<bool>();
}

std::string ConfigReader::text(const std::string& key, std::optional<std::string> absent) const {
  const Json* value = given(key, absent.has_value());
  if (value == nullptr) return *absent;
  if (!value->is_string()) refuse(key, "a text is allowed");
  return value->get<std::string>();
}

ConfigReader ConfigReader::inside(const std::string& key) const {
  const Json* value = given(key, false);
  if (!value->is_object()) refuse(key, "an object is allowed");
  ConfigReader reader(*value, origin_, {}, remarks_);
  reader.prefix_ = prefix_ + key + ".";
  return reader;
}

std::vector<std::string> ConfigReader::keys() const {
  std::vector<std::string> all;
  for (const auto& [key, value] : object_.items()) all.push_back(key);
  return all;
}

}  // namespace switchyard
