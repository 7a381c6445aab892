#include "parallel/comm/rendezvous/host_list.h"

#include <fmt/core.h>

#include <algorithm>
#include <functional>
#include <utility>

#include "core/error.h"
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

constexpr size_t most = 1'000'000;  // hosts or counts: more are none that a job has

// "07-09" or "12": what stands between brackets and commas.
std::vector<std::string> numbers_in(std::string_view range,
                                    const std::function<void(bool)>& sound) {
  const size_t dash = std::min(range.find('-'), range.size());
  const std::string_view first = range.substr(0, dash);
  const std::string_view last = dash == range.size() ? first : range.substr(dash + 1);
  const auto is_number = [](std::string_view text) {
    return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
  };
  sound(is_number(first) && is_number(last));
  const auto from = parse_number<int64_t>(first), to = parse_number<int64_t>(last);
  sound(from && to && *from <= *to && *to - *from < static_cast<int64_t>(most));
  std::vector<std::string> all;
  for (int64_t number = *from; number <= *to; ++number)
    all.push_back(fmt::format("{:0{}}", number, first.size()));
  return all;
}

// The commas of a list that stand in no brackets end its parts.
std::vector<std::string_view> parts_of(std::string_view list) {
  std::vector<std::string_view> parts;
  size_t begin = 0, open = 0;
  for (size_t i = 0; i <= list.size(); ++i) {
    if (i < list.size() && list[i] == '[') ++open;
    if (i < list.size() && list[i] == ']' && open > 0) --open;
    if (i < list.size() && (list[i] != ',' || open > 0)) continue;
    parts.push_back(list.substr(begin, i - begin));
    begin = i + 1;
  }
  return parts;
}

}  // namespace

std::vector<std::string> hosts_in(std::string_view short_form) {
  const auto sound = [&](bool ok) {
    check(ok, "launch", "\"{}\" is no list of Slurm's hosts, such as gpu-[07-09,12],login",
          short_form);
  };
  std::vector<std::string> all;
  for (std::string_view rest : parts_of(short_form)) {
    sound(!rest.empty());
    std::vector<std::string> hosts{""};
    while (!rest.empty()) {
      const size_t open = std::min(rest.find('['), rest.size()), close = rest.find(']');
      const auto stem = rest.substr(0, open);
      for (auto& host : hosts) host += stem;
      sound(close == std::string_view::npos ? open == rest.size() : open < close);
      if (open == rest.size()) break;
      std::vector<std::string> longer;
      for (const auto& host : hosts) {
        for (const auto range : split_at(',', rest.substr(open + 1, close - open - 1)))
          for (const auto& number : numbers_in(range, sound)) longer.push_back(host + number);
        sound(longer.size() <= most);
      }
      hosts = std::move(longer);
      rest.remove_prefix(close + 1);
    }
    all.insert(all.end(), hosts.begin(), hosts.end());
    sound(all.size() <= most);
  }
  return all;
}

std::string first_host(std::string_view short_form) {
  return hosts_in(parts_of(short_form).front()).front();
}

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

std::vector<int64_t> counts_in(std::string_view short_form) {
  std::vector<int64_t> counts;
  for (std::string_view part : split_at(',', short_form)) {
    const auto count = take_number<int64_t>(part);
    int64_t times = 1;
    if (part.starts_with("(x") && part.ends_with(")"))
      times = parse_number<int64_t>(part.substr(2, part.size() - 3)).value_or(0);
    else if (!part.empty())
      times = 0;
    const auto is_sound = [](int64_t number) {
      return number >= 0 && number <= static_cast<int64_t>(most);
    };
    check(count && is_sound(*count) && times > 0 && is_sound(times), "launch",
          "\"{}\" are no counts of Slurm's, such as 8(x3),4", short_form);
    check(counts.size() + static_cast<size_t>(times) <= most, "launch", "\"{}\" are too many nodes",
          short_form);
    counts.insert(counts.end(), static_cast<size_t>(times), *count);
  }
  return counts;
}

}  // namespace switchyard
