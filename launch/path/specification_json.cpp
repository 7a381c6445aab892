#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "launch/path/option_json.h"
#include "launch/path/specification.h"

using nlohmann::ordered_json;

namespace switchyard {

namespace {

constexpr int format_version = 1;

std::vector<OptionSpec> path_options() {
  auto specs = model_options();
  const auto training = training_options();
  specs.insert(specs.end(), training.begin(), training.end());
  return specs;
}

ordered_json schedule_json(const Schedule& s) {
  return {{"maximum", s.maximum},         {"minimum", s.minimum},
          {"warmup", s.warmup},           {"style", std::string(name_of(s.style))},
          {"decay_begin", s.decay_begin}, {"decay_from", s.decay_from},
          {"decay_iters", s.decay_iters}, {"warmup_begin", s.warmup_begin},
          {"warmup_from", s.warmup_from}};
}

Schedule schedule_from(const ordered_json& j) {
  return {j.at("maximum"),
          j.at("minimum"),
          j.at("warmup"),
          decay_style_named(j.at("style").get<std::string>()),
          j.at("decay_begin"),
          j.at("decay_from"),
          j.at("decay_iters"),
          j.value("warmup_begin", int64_t{0}),
          j.value("warmup_from", 0.0)};
}

ordered_json stages_json(const std::vector<DataStage>& stages) {
  ordered_json all = ordered_json::array();
  for (const auto& stage : stages) {
    ordered_json sources = ordered_json::array();
    for (const auto& s : stage.sources) {
      sources.push_back({{"prefix", s.prefix}, {"weight", s.weight}, {"identity", s.identity}});
    }
    all.push_back({{"first_sample", stage.first_sample}, {"sources", sources}});
  }
  return all;
}

std::vector<DataStage> stages_from(const ordered_json& j) {
  std::vector<DataStage> stages;
  for (const auto& stage : j) {
    DataStage made{stage.at("first_sample"), {}};
    for (const auto& s : stage.at("sources")) {
      made.sources.push_back({s.at("prefix"), s.at("weight"), s.at("identity")});
    }
    stages.push_back(std::move(made));
  }
  return stages;
}

ordered_json lineage_json(const std::vector<LineageEntry>& lineage) {
  ordered_json all = ordered_json::array();
  for (const auto& e : lineage) {
    all.push_back({{"path", e.path},
                   {"checkpoint", e.checkpoint},
                   {"step", e.step},
                   {"samples", e.samples},
                   {"tokens", e.tokens}});
    if (!e.path_as_given.empty()) all.back()["path_as_given"] = e.path_as_given;
  }
  return all;
}

ordered_json seeds_json(const Seeds& seeds) {
  ordered_json all = ordered_json::array();
  for (const auto& c : seeds.changes) {
    all.push_back({{"first_sample", c.first_sample}, {"seed", c.seed}});
  }
  return all;
}

// Branches that were made before seeds were written down read all their data by their own.
Seeds seeds_from(const ordered_json& j, uint64_t own) {
  Seeds seeds(own);
  if (!j.contains("seeds")) return seeds;
  seeds.changes.clear();
  for (const auto& c : j.at("seeds")) seeds.changes.push_back({c.at("first_sample"), c.at("seed")});
  check(!seeds.changes.empty() && seeds.changes.front().first_sample == 0 &&
            std::ranges::is_sorted(seeds.changes, {}, &SeedChange::first_sample) &&
            seeds.changes.back().seed == own,
        "path", "seeds are from sample 0 on, in order, and the last is --seed {}", own);
  return seeds;
}

PathSpecification parse(const ordered_json& j) {
  PathSpecification path;
  const int version = j.at("format_version");
  check(version == format_version, "path", "format version {}; this program reads {}", version,
        format_version);
  path.kind = j.at("kind");
  for (const auto& spec : path_options()) {
    if (j.at("settings").contains(spec.name)) {
      path.settings.set(spec, option_text(spec, j.at("settings").at(spec.name)));
    }
  }
  path.model = GptConfig::from_json(j.at("model").dump());
  // Older files have it rounded to fp32 here, and as it was given above.
  if (path.settings.has("norm-epsilon")) {
    const double given = path.settings.real("norm-epsilon");
    const bool same = static_cast<float>(given) == static_cast<float>(path.model.norm_epsilon);
    if (same) path.model.norm_epsilon = given;
  }
  path.schedule = schedule_from(j.at("schedule"));
  path.stages = stages_from(j.at("data_stages"));
  path.split = Split::parse(j.at("split").get<std::string>());
  path.seeds = seeds_from(j, path.seed());
  path.tokenizer = j.at("tokenizer");
  for (const auto& e : j.at("lineage")) {
    const int64_t samples = e.at("samples");
    path.lineage.push_back({e.at("path"), e.at("checkpoint"), e.at("step"), samples,
                            e.value("tokens", samples * path.sequence_length()),
                            e.value("path_as_given", "")});
  }
  return path;
}

}  // namespace

std::string PathSpecification::to_json() const {
  ordered_json all;
  all["format_version"] = format_version;
  all["kind"] = kind;
  for (const auto& spec : path_options()) {
    if (settings.has(spec.name)) {
      all["settings"][spec.name] = option_json(spec, settings);
    }
  }
  all["model"] = ordered_json::parse(model.to_json());
  all["schedule"] = schedule_json(schedule);
  all["data_stages"] = stages_json(stages);
  all["split"] = split.to_string();
  if (seeds.changes.size() > 1) all["seeds"] = seeds_json(seeds);
  all["tokenizer"] = tokenizer;
  all["lineage"] = lineage_json(lineage);
  return all.dump(2);
}

PathSpecification PathSpecification::from_json(const std::string& text, const std::string& origin) {
  try {
    return parse(ordered_json::parse(text));
  } catch (const nlohmann::json::parse_error& problem) {
    fail(ExitCode::storage, "path", "{} cannot be read: damaged at byte {}, where it is not JSON",
         origin, problem.byte);
  } catch (const nlohmann::json::exception& problem) {
    const std::string what = problem.what();  // "[json.exception.out_of_range.403] key 'kind' ..."
    fail(ExitCode::storage, "path", "{} cannot be read: it is not a path specification: {}", origin,
         what.substr(what.find(']') + 2));
  }
}

}  // namespace switchyard
