#include <fmt/core.h>

#include <algorithm>
#include <set>

#include "core/error.h"
#include "launch/path/imported.h"
#include "launch/path/relative_name.h"
#include "launch/path/specification_checks.h"

// A path that is there beside what is asked for.
namespace switchyard {

bool is_same_setting(const std::string& name, const Settings& path, const Settings& given) {
  if (!path.has(name)) return false;
  if (name != "norm-epsilon") return path.list(name) == given.list(name);
  return static_cast<float>(path.real(name)) == static_cast<float>(given.real(name));
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

std::optional<SettingDifference> contradiction(const PathSpecification& path,
                                               const Settings& given) {
  Settings wanted = given;
  if (given.has("preset")) {
    wanted = resolve_model(given, path.model.vocabulary);
    for (const auto& [name, values] : given.all()) {
      if (name != "preset") wanted.set_text(name, values.front());
    }
  }
  if (given.flag("swiglu")) wanted.set_text("activation", "swiglu");
  for (const auto& spec : path_options()) {
    if (!wanted.has(spec.name) || spec.name == "data-path" || spec.name == "swiglu") continue;
    if (is_same_setting(spec.name, path.settings, wanted)) continue;
    const bool has = path.settings.has(spec.name);
    return SettingDifference{spec.name, show(wanted.list(spec.name)),
                             has ? show(path.settings.list(spec.name)) : "none"};
  }
  return {};
}

void check_against(PathSpecification& path, const Settings& given, bool is_untrained) {
  const char* anew = "it has no step yet: with all options of a new path it is made anew";
  if (const auto differs = contradiction(path, given)) {
    fail("path", "--{} {}, but the path was made with {}; {}", differs->option, differs->given,
         differs->there, is_untrained ? anew : "a path never changes: fork it");
  }
  if (!given.has("data-path")) return;
  check_data(path, given, is_untrained ? anew : "use fork or extend for other data");
}

namespace {

// What an older version did not write had the value that is usual now.
Settings whole_settings(const PathSpecification& path) {
  Settings all = with_fallbacks(path_options(), path.settings);
  const Settings model = settings_of(path.model);
  for (const auto& [name, values] : model.all()) {
    if (!all.has(name)) all.set_text(name, values.front());
  }
  return all;
}

std::string difference_of_settings(const Settings& there, const Settings& asked) {
  std::set<std::string> names;
  for (const Settings* each : {&there, &asked}) {
    for (const auto& [name, values] : each->all()) names.insert(name);
  }
  const auto value = [](const Settings& s, const std::string& name) {
    return s.has(name) ? show(s.list(name)) : "none";
  };
  for (const auto& name : names) {
    if (there.has(name) && asked.has(name) && is_same_setting(name, there, asked)) continue;
    return fmt::format("it was made with --{} {}, not {}", name, value(there, name),
                       value(asked, name));
  }
  return "";
}

std::string difference_of_lineage(const PathSpecification& there, const PathSpecification& asked,
                                  const std::filesystem::path& folder) {
  const auto fork_point = [&folder](const PathSpecification& path) {
    if (path.lineage.empty()) return std::string("a random start");
    const auto& last = path.lineage.back();
    const std::string id = last.checkpoint.empty() ? "" : " (checkpoint " + last.checkpoint + ")";
    return fmt::format("step {} of '{}'{}", last.saved_step(),
                       place_as_named({last.path, last.path_as_given}, folder).string(), id);
  };
  const bool same = std::ranges::equal(
      there.lineage, asked.lineage, [](const LineageEntry& a, const LineageEntry& b) {
        const bool same_weights =
            a.imported && b.imported && is_same_import(*a.imported, *b.imported);
        return a.step == b.step && a.samples == b.samples &&
               (a.checkpoint == b.checkpoint || same_weights) &&
               a.replayed.has_value() == b.replayed.has_value() &&
               a.imported.has_value() == b.imported.has_value();
      });
  if (!same) {
    return fmt::format("it begins at {}, not at {}", fork_point(there), fork_point(asked));
  }
  const auto moments = [](const PathSpecification& path) -> std::string {
    if (path.lineage.empty() || !path.lineage.back().average) return "";
    return path.lineage.back().average->moments;
  };
  if (moments(there) == moments(asked)) return "";
  return fmt::format("it was made with --moments {}, not {}", moments(there), moments(asked));
}

std::string difference_of_data(const PathSpecification& there, const PathSpecification& asked) {
  const auto at_start = [](const PathSpecification& path) {
    auto stages = path.stages;
    std::erase_if(
        stages, [&](const DataStage& stage) { return stage.first_sample > path.start_samples(); });
    return stages;
  };
  const auto mine = at_start(there), others = at_start(asked);
  const bool same = std::ranges::equal(mine, others, [](const DataStage& a, const DataStage& b) {
    return a.first_sample == b.first_sample && is_same_blend(a.sources, b.sources);
  });
  if (same && !std::ranges::equal(mine, others, {}, &DataStage::skips, &DataStage::skips)) {
    return "it was made with other --skip-samples";
  }
  if (same || mine.empty() || others.empty()) return "";
  return fmt::format("it begins with --data-path {}, not {}", describe(mine.back().sources),
                     describe(others.back().sources));
}

}  // namespace

std::string difference(const PathSpecification& there, const PathSpecification& asked,
                       const std::filesystem::path& folder) {
  if (there.kind != asked.kind) return fmt::format("it is of kind '{}'", there.kind);
  for (const std::string& found :
       {difference_of_lineage(there, asked, folder),
        difference_of_settings(whole_settings(there), whole_settings(asked)),
        difference_of_data(there, asked)}) {
    if (!found.empty()) return found;
  }
  if (there.seeds.changes != asked.seeds.changes) return "other seeds came before its own";
  if (there.schedule != asked.schedule) return "its learning rates were given otherwise";
  return "";
}

}  // namespace switchyard
