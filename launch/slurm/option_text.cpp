#include "launch/slurm/option_text.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "core/error.h"
#include "core/text.h"

namespace switchyard {

namespace {

bool is_unlimited(std::string_view text) {
  std::string word(text);
  std::ranges::transform(word, word.begin(), [](unsigned char c) { return std::tolower(c); });
  return word == "unlimited" || word == "infinite";
}

}  // namespace

std::vector<std::string> words_of_options(const std::string& text) {
  std::vector<std::string> words;
  char quote = 0;  // the one that is open
  bool in_word = false, is_escaped = false;
  for (const char c : text) {
    const bool ends = c == ' ' && quote == 0 && !is_escaped;
    if (ends) {
      in_word = false;
      continue;
    }
    if (!in_word) words.emplace_back();
    in_word = true;
    if (!is_escaped && c == '\\' && quote != '\'') {
      is_escaped = true;
      continue;
    }
    const bool opens = !is_escaped && quote == 0 && (c == '"' || c == '\'');
    const bool closes = !is_escaped && quote != 0 && c == quote;
    if (opens || closes)
      quote = opens ? c : '\0';
    else
      words.back() += c;
    is_escaped = false;
  }
  check(quote == 0 && !is_escaped, "launch", "--srun-options {}: a quote is not closed in it",
        text);
  return words;
}

std::optional<int64_t> seconds_of_limit(std::string_view text) {
  if (is_unlimited(text)) return 0;
  constexpr int64_t most = 1 << 30;
  const auto number = [](std::string_view part) -> std::optional<int64_t> {
    const bool digits =
        !part.empty() && std::ranges::all_of(part, [](char c) { return c >= '0' && c <= '9'; });
    const auto value = digits ? parse_number<int64_t>(part) : std::nullopt;
    return value && *value <= most ? value : std::nullopt;
  };
  const size_t dash = text.find('-');
  const bool has_days = dash != std::string_view::npos;
  const auto days = has_days ? number(text.substr(0, dash)) : 0;
  if (!days) return std::nullopt;
  const auto parts = split_at(':', has_days ? text.substr(dash + 1) : text);
  if (parts.size() > 3) return std::nullopt;
  // Behind days the first is hours, else only where there are three: M or M:S.
  std::array<int64_t, 3> fields{};  // hours, minutes, seconds
  size_t at = has_days || parts.size() == 3 ? 0 : 1;
  for (const auto part : parts) {
    const auto value = number(part);
    if (!value) return std::nullopt;
    fields[at++] = *value;
  }
  constexpr int64_t minute = 60, hour = 60 * minute, day = 24 * hour;
  return *days * day + fields[0] * hour + fields[1] * minute + fields[2];
}

void check_limit(const std::string& area, const std::string& limit, const std::string& text,
                 const std::string& signal, int64_t seconds) {
  const auto all = seconds_of_limit(text);
  check(all.has_value(), area,
        "{} {}; M, M:S, H:M:S, D-H, D-H:M or D-H:M:S is allowed, such as 1-12:00:00", limit, text);
  check(*all == 0 || *all > seconds, area,
        "{} {} is {} s; more than {} {} is allowed, or ranks are asked to stop as they start",
        limit, text, *all, signal, seconds);
}

}  // namespace switchyard
