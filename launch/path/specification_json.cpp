#include <algorithm>

#include "core/error.h"
#include "core/json.h"
#include "launch/path/lineage_json.h"
#include "launch/path/option_json.h"
#include "launch/path/specification.h"

namespace switchyard {

namespace {

constexpr int format = 2;

// The schedule that the options say where nothing came before: no fork, and no decay.
Schedule base_schedule(const Settings& s) {
  Schedule base;
  if (s.has("lr")) base.maximum = s.real("lr");
  if (s.has("min-lr")) base.minimum = s.real("min-lr");
  if (s.has("lr-warmup-iters")) base.warmup = s.integer("lr-warmup-iters");
  if (s.has("lr-decay-style")) base.style = decay_style_named(s.text("lr-decay-style"));
  return base;
}

// Calls visit(name, field) for what a schedule is made of, but for its style.
template <class ScheduleType, class Visit>
void visit_fields(ScheduleType& s, const Visit& visit) {
  visit("maximum", s.maximum);
  visit("minimum", s.minimum);
  visit("warmup", s.warmup);
  visit("decay_begin", s.decay_begin);
  visit("decay_from", s.decay_from);
  visit("decay_iters", s.decay_iters);
  visit("warmup_begin", s.warmup_begin);
  visit("warmup_from", s.warmup_from);
}

// Only what the options do not say.
Json schedule_json(const Schedule& s, const Settings& settings) {
  const Schedule base = base_schedule(settings);
  Json said = Json::object(), all = said;
  visit_fields(base, [&](const char* name, auto value) { said[name] = value; });
  visit_fields(s, [&](const char* name, auto value) {
    if (said[name] != value) all[name] = value;
  });
  if (s.style != base.style) all["style"] = std::string(name_of(s.style));
  return all;
}

// What is not said is as in `base`.
Schedule schedule_from(const Json& j, const Schedule& base) {
  Schedule s = base;
  size_t known = j.contains("style") ? 1 : 0;
  visit_fields(s, [&](const char* name, auto& field) {
    known += j.contains(name) ? 1 : 0;
    field = j.value(name, field);
  });
  check(j.is_object() && known == j.size(), "path", "schedule is {}; what is known of it is {}",
        json_text(j), json_text(schedule_json(s, {})));
  if (j.contains("style")) s.style = decay_style_named(j.at("style").get<std::string>());
  return s;
}

// The first format said all but what came to it later.
Schedule whole_schedule_from(const Json& j) {
  for (const char* name :
       {"maximum", "minimum", "warmup", "style", "decay_begin", "decay_from", "decay_iters"}) {
    check(j.contains(name), "path", "schedule has no '{}'", name);
  }
  return schedule_from(j, {});
}

Json stages_json(const std::vector<DataStage>& stages) {
  Json all = Json::array();
  for (const auto& stage : stages) {
    Json sources = Json::array();
    for (const auto& s : stage.sources) {
      sources.push_back({{"prefix", s.prefix}, {"weight", s.weight}, {"identity", s.identity}});
    }
    all.push_back({{"first_sample", stage.first_sample}, {"sources", sources}});
    for (const auto& skip : stage.skips) {
      all.back()["skips"].push_back(
          {{"first_sample", skip.first_sample}, {"samples", skip.samples}});
    }
  }
  return all;
}

std::vector<DataStage> stages_from(const Json& j) {
  std::vector<DataStage> stages;
  for (const auto& stage : j) {
    DataStage made{stage.at("first_sample"), {}};
    for (const auto& s : stage.at("sources")) {
      made.sources.push_back({s.at("prefix"), s.at("weight"), s.at("identity")});
      check(made.sources.back().weight > 0, "path", "'{}' has the weight {}; above 0 is allowed",
            made.sources.back().prefix, made.sources.back().weight);
    }
    check(
        !made.sources.empty() && made.first_sample >= 0, "path",
        "a stage of data begins at sample {} and has {} sets; 0 or more and 1 or more are allowed",
        made.first_sample, made.sources.size());
    for (const auto& skip : stage.value("skips", Json::array())) {
      made.skips.push_back({skip.at("first_sample"), skip.at("samples")});
      check(made.skips.back().samples > 0 && made.skips.back().first_sample >= made.first_sample,
            "path",
            "a stage of data from sample {} on skips {} samples at {}; 1 or more within it "
            "are allowed",
            made.first_sample, made.skips.back().samples, made.skips.back().first_sample);
    }
    stages.push_back(std::move(made));
  }
  return stages;
}

Json seeds_json(const Seeds& seeds) {
  Json all = Json::array();
  for (const auto& c : seeds.changes) {
    all.push_back({{"first_sample", c.first_sample}, {"seed", c.seed}});
  }
  return all;
}

// Branches that were made before seeds were written down read all their data by their own.
Seeds seeds_from(const Json& j, uint64_t own) {
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

Settings options_from(const Json& j) {
  Settings settings;
  for (const auto& spec : path_options()) {
    if (!j.contains(spec.name)) continue;
    try {
      settings.set(spec, option_text(spec, j.at(spec.name)));
    } catch (const nlohmann::json::exception&) {
      fail("path", "'{}' is {}, of another kind than this option", spec.name,
           json_text(j.at(spec.name)));
    }
  }
  return settings;
}

// What a file cannot lack. Published weights have no training options but the windows' length, and
// an average of them has none either.
std::vector<const char*> least_options(const std::string& kind, const Settings& settings) {
  std::vector<const char*> names = {
      "num-layers", "hidden-size", "num-attention-heads", "vocab-size", "max-position-embeddings",
      "seq-length"};
  if (kind == "imported" || (kind == "average" && !settings.has("global-batch-size"))) return names;
  for (const char* name : {"global-batch-size", "seed", "lr", "weight-decay", "adam-beta1",
                           "adam-beta2", "adam-eps", "clip-grad"}) {
    names.push_back(name);
  }
  return names;
}

// An option that the program does not know is one of a later version. What is missing may be
// younger than the file, or not have a value, but for what every path has had.
Settings all_options_from(const Json& j, const std::string& kind) {
  Settings settings = options_from(j);
  for (const auto& [name, value] : j.items()) {
    check(settings.has(name), "path", "there is no option '{}'; a later version may know it", name);
  }
  for (const char* name : least_options(kind, settings)) {
    check(settings.has(name), "path", "there is no option '{}', which every path has", name);
  }
  return settings;
}

// The first format said the model again, field by field, and the whole schedule.
void take_first_format(const Json& j, PathSpecification& path) {
  path.settings = options_from(j.at("settings"));
  path.model = GptConfig::from_json(json_text(j.at("model")));
  // Older files have it rounded to fp32 here, and as it was given above.
  if (path.settings.has("norm-epsilon")) {
    const double given = path.settings.real("norm-epsilon");
    const bool same = static_cast<float>(given) == static_cast<float>(path.model.norm_epsilon);
    if (same) path.model.norm_epsilon = given;
  }
  const Settings model = settings_of(path.model);
  for (const auto& [name, values] : model.all()) path.settings.set_text(name, values.front());
  path.schedule = whole_schedule_from(j.at("schedule"));
  path.split = Split::parse(j.at("split").get<std::string>());
}

void take_format(const Json& j, PathSpecification& path) {
  path.settings = all_options_from(j.at("options"), path.kind);
  path.model = config_of(path.settings);
  const Settings model = settings_of(path.model);
  for (const auto& [name, values] : model.all()) {  // older files lack what is younger
    if (!path.settings.has(name)) path.settings.set_text(name, values.front());
  }
  path.schedule = schedule_from(j.at("schedule"), base_schedule(path.settings));
  if (path.settings.has("split")) path.split = Split::parse(path.settings.text("split"));
}

PathSpecification parse(const Json& j, bool is_first) {
  PathSpecification path;
  path.kind = j.at("kind");
  check(path.kind == "path" || path.kind == "average" || path.kind == "imported", "path",
        "kind is '{}'; path, average and imported are known", path.kind);
  is_first ? take_first_format(j, path) : take_format(j, path);
  path.stages = stages_from(j.at("data_stages"));
  if (path.has_training_options()) path.seeds = seeds_from(j, path.seed());
  path.tokenizer = j.at("tokenizer");
  path.lineage = lineage_from(j.at("lineage"), path.sequence_length());
  return path;
}

// What `body` gives; its errors name the file.
template <class Body>
auto reading(const std::string& origin, const Body& body) {
  try {
    return body();
  } catch (const Error& problem) {
    fail(ExitCode::storage, "path", "{} cannot be read: {}", origin, problem.what());
  } catch (const nlohmann::json::parse_error& problem) {
    fail(ExitCode::storage, "path", "{} cannot be read: damaged at byte {}, where it is not JSON",
         origin, problem.byte);
  } catch (const nlohmann::json::exception& problem) {
    const std::string what = problem.what();  // "[json.exception.out_of_range.403] key 'kind' ..."
    fail(ExitCode::storage, "path", "{} cannot be read: it is not a path specification: {}", origin,
         what.substr(what.find(']') + 2));
  }
}

}  // namespace

std::string PathSpecification::to_json() const {
  Json all;
  all["format"] = format;
  all["kind"] = kind;
  for (const auto& spec : path_options()) {
    if (settings.has(spec.name)) all["options"][spec.name] = option_json(spec, settings);
  }
  all["schedule"] = schedule_json(schedule, settings);
  all["data_stages"] = stages_json(stages);
  if (seeds.changes.size() > 1) all["seeds"] = seeds_json(seeds);
  all["tokenizer"] = tokenizer;
  all["lineage"] = lineage_json(lineage);
  return json_text(all, 2);
}

PathSpecification PathSpecification::from_json(const std::string& text, const std::string& origin) {
  const Json j = reading(origin, [&] { return parse_json(text); });
  const Json said = reading(
      origin, [&] { return j.contains("format") ? j.at("format") : j.at("format_version"); });
  const bool is_first = said == 1;
  check(is_first || said == format, "path", "{} has format {}; this program reads 1 to {}", origin,
        json_text(said), format);
  return reading(origin, [&] { return parse(j, is_first); });
}

}  // namespace switchyard
