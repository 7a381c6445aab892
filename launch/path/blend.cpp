#include "launch/path/blend.h"

#include <algorithm>
#include <filesystem>

#include "core/error.h"
#include "data/dataset.h"
#include "launch/path/options.h"
#include "launch/path/relative_name.h"

namespace switchyard {

namespace {

std::string absolute(const std::string& prefix) {
  std::string name = std::filesystem::absolute(prefix).lexically_normal().string();
  check_is_text(name);
  return name;
}

}  // namespace

std::vector<DataSource> parse_sources(const std::vector<std::string>& values, const char* option) {
  const std::string allowed = "one PREFIX, or pairs of a positive weight and a PREFIX, are allowed";
  if (values.size() == 1) return {{absolute(values[0]), 1.0, ""}};
  check(!values.empty() && values.size() % 2 == 0, "data", "--{} {}: {} values; {}", option,
        show(values), values.size(), allowed);
  std::vector<DataSource> sources;
  for (size_t i = 0; i < values.size(); i += 2) {
    Settings weight;
    try {
      weight.set({.name = "weight", .kind = OptionKind::real}, {values[i]});
    } catch (const Error&) {
      fail("data", "--{} {}: '{}' is not a weight; {}", option, show(values), values[i], allowed);
    }
    check(weight.real("weight") > 0, "data", "--{} {}: a weight of {}; {}", option, show(values),
          values[i], allowed);
    sources.push_back({absolute(values[i + 1]), weight.real("weight"), ""});
  }
  return sources;
}

std::string describe(const std::vector<DataSource>& sources) {
  std::string text;
  for (const auto& s : sources) {
    text += fmt::format("{}{} {} (identity {})", text.empty() ? "" : ", ", s.weight,
                        show({s.prefix}), s.identity);
  }
  return text;
}

std::string show_blend(const std::vector<DataSource>& sources) {
  if (sources.size() == 1) return show({sources.front().prefix});
  std::vector<std::string> words;
  for (const auto& s : sources) {
    words.push_back(canonical_real(s.weight));
    words.push_back(s.prefix);
  }
  return show(words);
}

bool is_same_blend(const std::vector<DataSource>& a, const std::vector<DataSource>& b) {
  return std::ranges::equal(a, b, [](const DataSource& x, const DataSource& y) {
    return x.identity == y.identity && x.weight == y.weight;
  });
}

bool is_named_blend(const std::vector<DataSource>& a, const std::vector<DataSource>& b) {
  return std::ranges::equal(a, b, [](const DataSource& x, const DataSource& y) {
    return x.prefix == y.prefix && x.weight == y.weight;
  });
}

std::vector<DataSource> identified_sources(const std::vector<std::string>& values,
                                           int64_t vocabulary) {
  auto sources = parse_sources(values);
  for (auto& source : sources) {
    source.identity = TokenDataset::open(source.prefix, vocabulary).identity();
  }
  return sources;
}

}  // namespace switchyard
