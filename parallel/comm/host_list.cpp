#include "parallel/comm/host_list.h"

#include <fmt/core.h>

#include "core/text.h"

namespace switchyard {

namespace {

// "gpu-07" is gpu- and 07.
struct Host {
  std::string stem{};
  std::string digits{};  // empty: the name has no number
};

Host split_name(const std::string& name) {
  constexpr size_t most_digits = 15;
  size_t at = name.size();
  while (at > 0 && name[at - 1] >= '0' && name[at - 1] <= '9') --at;
  if (name.size() - at > most_digits) at = name.size();
  return {name.substr(0, at), name.substr(at)};
}

bool follows(const std::string& before, const std::string& digits) {
  const auto number = parse_number<int64_t>(before);
  return number && digits == fmt::format("{:0{}}", *number + 1, before.size());
}

// Of hosts with one stem: "1-3,07".
std::string digit_ranges(std::span<const std::string> digits) {
  std::string text;
  for (size_t i = 0; i < digits.size();) {
    size_t last = i;
    while (last + 1 < digits.size() && follows(digits[last], digits[last + 1])) ++last;
    if (!text.empty()) text += ',';
    text += last > i ? fmt::format("{}-{}", digits[i], digits[last]) : digits[i];
    i = last + 1;
  }
  return text;
}

}  // namespace

std::string number_ranges(std::span<const int64_t> numbers, char separator) {
  std::string text;
  for (size_t i = 0; i < numbers.size();) {
    size_t last = i;
    while (last + 1 < numbers.size() && numbers[last + 1] == numbers[last] + 1) ++last;
    if (!text.empty()) text += separator;
    text +=
        last > i ? fmt::format("{}-{}", numbers[i], numbers[last]) : fmt::format("{}", numbers[i]);
    i = last + 1;
  }
  return text;
}

std::string short_host_list(std::span<const std::string> hosts) {
  std::string text;
  for (size_t i = 0; i < hosts.size();) {
    const Host first = split_name(hosts[i]);
    std::vector<std::string> digits{first.digits};
    size_t end = i + 1;
    for (; end < hosts.size() && !first.digits.empty(); ++end) {
      const Host next = split_name(hosts[end]);
      if (next.stem != first.stem || next.digits.empty()) break;
      digits.push_back(next.digits);
    }
    if (!text.empty()) text += ',';
    text += digits.size() == 1 ? hosts[i] : fmt::format("{}[{}]", first.stem, digit_ranges(digits));
    i = end;
  }
  return text;
}

std::string short_counts(std::span<const int64_t> counts) {
  std::string text;
  for (size_t i = 0; i < counts.size();) {
    size_t end = i;
    while (end < counts.size() && counts[end] == counts[i]) ++end;
    if (!text.empty()) text += ',';
    text += end - i > 1 ? fmt::format("{}(x{})", counts[i], end - i) : fmt::format("{}", counts[i]);
    i = end;
  }
  return text;
}

}  // namespace switchyard
