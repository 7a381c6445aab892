#pragma once

#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

// Numbers and lists out of text, whatever the locale.
namespace switchyard {

// The number that `text` begins with, which is taken off; none, and nothing is taken, where there
// is none or T cannot hold it. No space or '+' is allowed before it.
template <class T>
std::optional<T> take_number(std::string_view& text) {
  T number{};
  const char* begin = text.data();
  const auto [end, problem] = std::from_chars(begin, begin + text.size(), number);
  if (problem != std::errc()) return std::nullopt;
  text.remove_prefix(static_cast<size_t>(end - begin));
  return number;
}

// The same where nothing else follows.
template <class T>
std::optional<T> parse_number(std::string_view text) {
  const auto number = take_number<T>(text);
  return text.empty() ? number : std::nullopt;
}

std::optional<uint64_t> parse_hexadecimal(std::string_view digits);  // of either case, without 0x

// The parts between separators: one more than there are separators.
std::vector<std::string_view> split_at(char separator, std::string_view text);

// The time of day in UTC, as strftime writes it: at most 63 characters.
std::string now_in_utc(const char* format);

}  // namespace switchyard
