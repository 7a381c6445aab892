#include "launch/path/average_option.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <map>

#include "core/error.h"
#include "core/text.h"

namespace switchyard {

namespace {

using Kind = AverageSpec::Kind;

constexpr const char* forms =
    "ema:beta=B,every=N, lawa:k=K,every=N, swa:from=STEP,every=N and running[:every=N], each with "
    "NAME= in front or without, are allowed";
constexpr int64_t most_members = 1024;

bool is_name(std::string_view text) {
  return !text.empty() && text.size() <= 40 && std::ranges::all_of(text, [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '-' || c == '_';
  });
}

// The values of an average by their keys, as they are asked for.
class Values {
 public:
  Values(const std::string& text, std::string_view pairs) : text_(text) {
    if (pairs.empty()) return;
    for (const auto pair : split_at(',', pairs)) {
      const size_t at = pair.find('=');
      check(at != std::string_view::npos, "options", "--average {}: '{}'; {}", text, pair, forms);
      const std::string key(pair.substr(0, at));
      check(!values_.contains(key), "options", "--average {}: {} was given twice; once is allowed",
            text, key);
      values_[key] = std::string(pair.substr(at + 1));
    }
  }
  int64_t integer(const std::string& key, int64_t least, int64_t most) {
    const std::string value = take(key);
    const auto number = parse_number<int64_t>(value);
    check(number && *number >= least && *number <= most, "options",
          "--average {}: {}={}; {} to {} is allowed", text_, key, value, least, most);
    return *number;
  }
  double share(const std::string& key) {
    const std::string value = take(key);
    const auto number = parse_number<double>(value);
    check(number && *number > 0 && *number < 1, "options",
          "--average {}: {}={}; 0 < {} < 1 is allowed", text_, key, value, key);
    return *number;
  }
  bool has(const std::string& key) const { return values_.contains(key); }
  void check_all_taken(Kind kind) const {
    check(values_.empty(), "options", "--average {}: {} has no '{}'; {}", text_, name_of(kind),
          values_.empty() ? "" : values_.begin()->first, forms);
  }

 private:
  std::string take(const std::string& key) {
    const auto at = values_.find(key);
    check(at != values_.end(), "options", "--average {}: {} is missing; {}", text_, key, forms);
    std::string value = at->second;
    values_.erase(at);
    return value;
  }
  const std::string& text_;
  std::map<std::string, std::string> values_;
};

Kind kind_named(const std::string& text, std::string_view name) {
  for (const Kind kind : {Kind::ema, Kind::lawa, Kind::swa, Kind::running}) {
    if (name == name_of(kind)) return kind;
  }
  fail("options", "--average {}: '{}' is no kind of average; {}", text, name, forms);
}

}  // namespace

AverageSpec parse_average(const std::string& text) {
  constexpr int64_t most = int64_t{1} << 31;
  const std::string_view all = text;
  const size_t colon = all.find(':');
  std::string_view kind = all.substr(0, colon);
  AverageSpec spec;
  const size_t equals = kind.find('=');
  if (equals != std::string_view::npos) {
    spec.name = kind.substr(0, equals);
    check(is_name(spec.name), "options",
          "--average {}: the name '{}'; 1 to 40 letters, digits, '-' and '_' are allowed", text,
          spec.name);
    kind.remove_prefix(equals + 1);
  }
  spec.kind = kind_named(text, kind);
  if (spec.name.empty()) spec.name = name_of(spec.kind);
  check(colon != all.size() - 1, "options", "--average {}: nothing behind the colon; {}", text,
        forms);
  Values values(text, colon == std::string_view::npos ? "" : all.substr(colon + 1));
  if (spec.kind != Kind::running || values.has("every")) {
    spec.every = values.integer("every", 1, most);
  }
  if (spec.kind == Kind::ema) spec.beta = values.share("beta");
  if (spec.kind == Kind::lawa) spec.k = values.integer("k", 1, most_members);
  if (spec.kind == Kind::swa) spec.from = values.integer("from", 0, most);
  values.check_all_taken(spec.kind);
  return spec;
}

std::string show(const AverageSpec& spec) {
  const std::string_view kind = name_of(spec.kind);
  std::string text = spec.name == kind ? "" : spec.name + "=";
  text += kind;
  text += ":";
  if (spec.kind == Kind::ema) text += fmt::format("beta={},", canonical_real(spec.beta));
  if (spec.kind == Kind::lawa) text += fmt::format("k={},", spec.k);
  if (spec.kind == Kind::swa) text += fmt::format("from={},", spec.from);
  return text + fmt::format("every={}", spec.every);
}

std::vector<AverageSpec> averages_given(const Settings& given) {
  std::vector<AverageSpec> specs;
  if (!given.has("average")) return specs;
  for (const std::string& text : given.list("average")) {
    AverageSpec spec = parse_average(text);
    const auto same = std::ranges::find(specs, spec.name, &AverageSpec::name);
    check(same == specs.end(), "options",
          "--average {} {}: two averages of the name '{}'; give one another, as in NAME={}",
          same == specs.end() ? "" : show(*same), text, spec.name,
          text.substr(text.find('=') < text.find(':') ? text.find('=') + 1 : 0));
    specs.push_back(std::move(spec));
  }
  return specs;
}

std::vector<AverageRecord> settle_averages(std::vector<AverageRecord> found, const Settings& given,
                                           int64_t step) {
  const auto at = [&found](const std::string& name) {
    return std::ranges::find(found, name, [](const AverageRecord& r) { return r.spec.name; });
  };
  if (given.has("drop-average")) {
    for (const std::string& name : given.list("drop-average")) {
      std::string there;
      for (const auto& record : found) there += (there.empty() ? "" : ", ") + record.spec.name;
      check(at(name) != found.end(), "options", "--drop-average {}; step {} has {}", name, step,
            there.empty() ? "no averages" : there);
      found.erase(at(name));
    }
  }
  for (AverageSpec& spec : averages_given(given)) {
    const auto same = at(spec.name);
    if (same == found.end()) {
      found.push_back({.spec = std::move(spec), .since = step});
      continue;
    }
    check(same->spec == spec, "options",
          "--average {}, but step {} has {}; the same, another name, or --drop-average {} is "
          "allowed",
          show(spec), step, show(same->spec), spec.name);
  }
  return found;
}

}  // namespace switchyard
