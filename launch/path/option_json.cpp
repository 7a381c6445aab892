#include "launch/path/option_json.h"

#include <limits>

#include "core/error.h"
#include "core/json.h"

namespace switchyard {

Json option_json(const OptionSpec& spec, const Settings& settings) {
  const std::string name = spec.long_name();
  const auto& values = settings.list(name);
  switch (spec.kind) {
    case OptionKind::integer:
      return settings.integer(name);
    case OptionKind::real:
      return settings.real(name);
    case OptionKind::flag:
      return values.front() == "true";
    case OptionKind::text:
      return values.front();
    case OptionKind::list:
      return values;
  }
  return nullptr;
}

namespace {

// Neither cut nor wrapped.
std::string whole_number(const OptionSpec& spec, const Json& value) {
  const bool fits = value.is_number_unsigned()
                        ? value.get<uint64_t>() <= std::numeric_limits<int64_t>::max()
                        : value.is_number_integer();
  check(fits, "options", "'{}' is {}; a whole number is needed", long_name(spec), json_text(value));
  return std::to_string(value.get<int64_t>());
}

}  // namespace

std::vector<std::string> option_text(const OptionSpec& spec, const Json& value) {
  switch (spec.kind) {
    case OptionKind::integer:
      return {whole_number(spec, value)};
    case OptionKind::real:
      return {canonical_real(value.get<double>())};
    case OptionKind::flag:
      return {value.get<bool>() ? "true" : "false"};
    case OptionKind::text:
      return {value.get<std::string>()};
    case OptionKind::list:
      return value.get<std::vector<std::string>>();
  }
  return {};
}

}  // namespace switchyard
