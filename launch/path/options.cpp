#include "launch/path/options.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/text.h"

namespace switchyard {

namespace {

template <class T>
std::optional<T> number_in(std::string_view text) {
  return parse_number<T>(text.substr(text.starts_with('+') ? 1 : 0));
}

std::string canonical(const OptionSpec& spec, std::string_view name, const std::string& text) {
  switch (spec.kind) {
    case OptionKind::integer: {
      const auto value = number_in<int64_t>(text);
      check(value.has_value(), "options", "--{} {}; a whole number is allowed", name, text);
      return std::to_string(*value);
    }
    case OptionKind::real: {
      const auto value = number_in<double>(text);
      check(value && std::isfinite(*value), "options", "--{} {}; a finite number is allowed", name,
            text);
      return canonical_real(*value);
    }
    case OptionKind::flag:
      check(text == "true" || text == "false", "options", "--{} {}; true or false is allowed", name,
            text);
      return text;
    case OptionKind::text:
    case OptionKind::list:
      return text;
  }
  return text;
}

const std::vector<std::string>& lookup(const std::map<std::string, std::vector<std::string>>& all,
                                       const std::string& name) {
  const auto found = all.find(name);
  check(found != all.end() && !found->second.empty(), "options", "--{} is needed here", name);
  return found->second;
}

}  // namespace

std::string long_name(const OptionSpec& spec) { return spec.name.substr(0, spec.name.find(',')); }

std::string short_name(const OptionSpec& spec) {
  const size_t comma = spec.name.find(',');
  return comma == std::string::npos ? "" : spec.name.substr(comma + 1);
}

std::string canonical_real(double value) {
  char buffer[32];
  const auto result = std::to_chars(buffer, buffer + sizeof buffer, value);
  return {buffer, result.ptr};
}

int64_t Settings::integer(const std::string& name) const {
  const std::string& given = text(name);
  const auto value = number_in<int64_t>(given);
  check(value.has_value(), "options", "--{} {}; a whole number is allowed", name, given);
  return *value;
}

double Settings::real(const std::string& name) const {
  const std::string& given = text(name);
  const auto value = number_in<double>(given);
  check(value.has_value(), "options", "--{} {}; a number is allowed", name, given);
  return *value;
}

const std::string& Settings::text(const std::string& name) const {
  return lookup(values_, name).front();
}

const std::vector<std::string>& Settings::list(const std::string& name) const {
  return lookup(values_, name);
}

bool Settings::flag(const std::string& name) const { return has(name) && text(name) == "true"; }

void Settings::set(const OptionSpec& spec, std::vector<std::string> values,
                   std::string_view typed) {
  const std::string long_form = long_name(spec);
  const std::string_view name = typed.empty() ? long_form : typed;
  check(spec.kind == OptionKind::list || values.size() == 1, "options",
        "--{} {}; one value is allowed", name, fmt::join(values, " "));
  for (auto& value : values) {
    std::string text = canonical(spec, name, value);
    check(is_allowed(spec.allowed, text), "options", "--{} {}; {} is allowed{}", name, value,
          spec.allowed.words, spec.allowed.hint ? spec.allowed.hint(text) : "");
    value = std::move(text);
  }
  values_[long_form] = std::move(values);
}

namespace {

std::string quoted(const std::string& word) {
  if (!word.empty() && word.find_first_of(" \t\n'\"\\#$&;()*?[]{}<>|`!~") == std::string::npos)
    return word;
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

}  // namespace

std::string show(const std::vector<std::string>& values) {
  std::vector<std::string> words;
  words.reserve(values.size());
  for (const auto& value : values) words.push_back(quoted(value));
  return fmt::format("{}", fmt::join(words, " "));
}

Settings with_fallbacks(std::span<const OptionSpec> specs, Settings given) {
  for (const auto& spec : specs) {
    const std::string name = long_name(spec);
    if (!given.has(name) && !spec.fallback.empty()) given.set(spec, {spec.fallback});
  }
  return given;
}

namespace {

bool is_number(const std::string& text) { return number_in<double>(text).has_value(); }

// How many values at the front of a list make it complete: one path, or weight and path pairs.
size_t complete_length(const std::vector<std::string>& values) {
  if (values.empty() || !is_number(values[0])) return std::min<size_t>(values.size(), 1);
  size_t length = 0;
  while (length + 1 < values.size() && is_number(values[length])) length += 2;
  return length;
}

// Moves at most `missing` values behind a complete list to the names.
void give_back(Command& command, const std::string& option, size_t missing) {
  auto values = command.given.list(option);
  if (is_number(values.back())) return;  // a weight whose path was forgotten
  const size_t surplus = values.size() - complete_length(values);
  const auto kept = static_cast<std::ptrdiff_t>(values.size() - std::min(surplus, missing));
  command.positional.insert(command.positional.end(), values.begin() + kept, values.end());
  values.erase(values.begin() + kept, values.end());
  command.given.set({option, OptionKind::list, OptionGroup::run, "", ""}, values);
}

// Of a list that counts no more: what it may have swallowed.
std::string describe_swallowed(const Command& command) {
  const auto swallows = [](const Command::Replaced& list) {
    return complete_length(list.values) < list.values.size() && !is_number(list.values.back());
  };
  const auto found = std::ranges::find_if(command.replaced, swallows);
  if (found == command.replaced.end()) return "";
  return fmt::format("; '{}' of '--{} {}' may be one, but with the last --{} that list is given up",
                     found->values.back(), found->option, show(found->values), found->option);
}

}  // namespace

std::vector<std::string> take_names(Command& command, size_t count, const std::string& what) {
  const auto& names = command.positional;
  bool has_list = false;
  for (const auto& [option, values] : command.given.all()) {
    if (values.size() < 2) continue;
    has_list = true;
    if (names.size() < count) give_back(command, option, count - names.size());
  }
  const std::string swallowed = names.size() < count ? describe_swallowed(command) : "";
  has_list |= !swallowed.empty();
  check(!names.empty(), "options", "{} is missing{}{}", what, swallowed,
        has_list ? "; it may stand in front of options with several values" : "");
  const bool has_truth = std::ranges::any_of(
      names, [](const std::string& name) { return name == "true" || name == "false"; });
  check(names.size() == count, "options", "'{}' {} given; {}{} allowed{}{}",
        fmt::join(names, "' '"), names.size() == 1 ? "was" : "were", count == 1 ? "one " : "",
        what + (count == 1 ? " is" : " are"), swallowed,
        has_truth ? "; a flag takes no value" : "");
  return names;
}

std::string take_run(Command& command, const std::string& what) {
  return take_names(command, 1, what).front();
}

}  // namespace switchyard
