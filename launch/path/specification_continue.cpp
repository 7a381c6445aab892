#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"
#include "launch/path/specification_checks.h"

namespace switchyard {

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

namespace {

// Data given anew must be those of one of the path's stages; they may have moved. Those that are
// named as before have not, and a stage that is past need not be there; the others' identities are
// checked when they are opened.
void check_data(PathSpecification& path, const Settings& given, const char* advice) {
  const auto named = parse_sources(given.list("data-path"));
  if (std::ranges::any_of(path.stages,
                          [&](const auto& s) { return is_named_blend(s.sources, named); })) {
    return;
  }
  const auto sources = identified_sources(given.list("data-path"), path.model.vocabulary);
  const auto stage = std::ranges::find_if(path.stages, [&](const DataStage& candidate) {
    return is_same_blend(candidate.sources, sources);
  });
  check(stage != path.stages.end(), "path", "--data-path {} is another set than the path's {}; {}",
        describe(sources), describe(path.stages.back().sources), advice);
  for (auto& each : path.stages) {
    for (auto& mine : each.sources) {
      for (const auto& source : sources) {
        if (mine.identity == source.identity) mine.prefix = source.prefix;
      }
    }
  }
}

}  // namespace

void check_against(PathSpecification& path, const Settings& given, bool is_untrained) {
  const char* anew = "it has no step yet: with all options of a new path it is made anew";
  auto specs = model_options();
  const auto training = training_options();
  specs.insert(specs.end(), training.begin(), training.end());
  Settings wanted = given;
  if (given.has("preset")) {
    wanted = resolve_model(given, path.model.vocabulary);
    for (const auto& [name, values] : given.all()) {
      if (name != "preset") wanted.set_text(name, values.front());
    }
  }
  if (given.flag("swiglu")) wanted.set_text("activation", "swiglu");
  for (const auto& spec : specs) {
    if (!wanted.has(spec.name) || spec.name == "data-path" || spec.name == "swiglu") continue;
    check(is_same_setting(spec.name, path.settings, wanted), "path",
          "--{} {}, but the path was made with {}; {}", spec.name, show(wanted.list(spec.name)),
          path.settings.has(spec.name) ? show(path.settings.list(spec.name)) : "none",
          is_untrained ? anew : "a path never changes: fork it");
  }
  if (!given.has("data-path")) return;
  check_data(path, given, is_untrained ? anew : "use fork or extend for other data");
}

}  // namespace switchyard
