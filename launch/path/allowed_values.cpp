#include "launch/path/allowed_values.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

namespace switchyard {

AllowedValues numbers(std::string words, std::function<bool(double)> holds) {
  return {.words = std::move(words), .holds = std::move(holds)};
}

AllowedValues at_least(double least) {
  return numbers(fmt::format("at least {}", least), [least](double v) { return v >= least; });
}

AllowedValues above(double bound) {
  return numbers(fmt::format("above {}", bound), [bound](double v) { return v > bound; });
}

AllowedValues between(int64_t least, int64_t most) {
  return numbers(fmt::format("{} to {}", least, most), [least, most](double v) {
    return v >= static_cast<double>(least) && v <= static_cast<double>(most);
  });
}

AllowedValues one_of(std::vector<std::string> choices) {
  std::string words;
  for (size_t i = 0; i < choices.size(); ++i) {
    const bool last = i + 1 == choices.size();
    words += (i == 0 ? "" : last ? " or " : ", ") + choices[i];
  }
  return {.words = words, .choices = std::move(choices)};
}

AllowedValues such_as(std::vector<std::string> choices) {
  return {.choices = std::move(choices), .open = true};
}

AllowedValues with_hint(AllowedValues allowed,
                        std::function<std::string(const std::string&)> hint) {
  allowed.hint = std::move(hint);
  return allowed;
}

bool is_allowed(const AllowedValues& allowed, const std::string& value) {
  if (!allowed.choices.empty() && !allowed.open)
    return std::ranges::count(allowed.choices, value) > 0;
  return !allowed.holds || allowed.holds(std::strtod(value.c_str(), nullptr));
}

}  // namespace switchyard
