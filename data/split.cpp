#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.h"
#include "core/text.h"
#include "data/training_data.h"

namespace switchyard {

namespace {

double parse_part(std::string_view word, const std::string& text) {
  const auto value = parse_number<double>(word);
  check(value && std::isfinite(*value) && *value >= 0, "data",
        "--split {}: '{}' is not a number of at least 0", text, word);
  return *value;
}

}  // namespace

Split Split::parse(const std::string& text) {
  Split split;
  split.parts.clear();
  for (const auto part : split_at(',', text)) split.parts.push_back(parse_part(part, text));
  check(split.parts.size() <= 3 && split.parts[0] > 0, "data",
        "--split {} was given; one to three parts (training, validation, test) are allowed, the "
        "first above 0",
        text);
  check(std::isfinite(std::accumulate(split.parts.begin(), split.parts.end(), 0.0)), "data",
        "--split {}: the sum of its parts is not finite", text);
  return split;
}

std::string Split::to_string() const { return fmt::format("{}", fmt::join(parts, ",")); }

std::pair<int64_t, int64_t> Split::range(size_t part, int64_t windows) const {
  check(part < parts.size(), "data", "part {} of the split {} was asked for; it has {}", part,
        to_string(), parts.size());
  const double total = std::accumulate(parts.begin(), parts.end(), 0.0);
  const auto border = [&](size_t i) -> int64_t {
    if (i == parts.size()) return windows;
    const auto end = parts.begin() + static_cast<std::ptrdiff_t>(i);
    const double share = std::accumulate(parts.begin(), end, 0.0) / total;
    return std::llround(share * static_cast<double>(windows));
  };
  return {border(part), border(part + 1)};
}

}  // namespace switchyard
