#include "launch/path/specification_from_weights.h"

#include <algorithm>

#include "core/error.h"
#include "data/dataset_info.h"
#include "launch/path/skip_samples.h"
#include "launch/path/specification_checks.h"

namespace switchyard {

namespace {

// The model is the weights' own, but for what a branch may change: its dropout.
void take_model(PathSpecification& path, const PathSpecification& weights, const Settings& given) {
  for (const auto& spec : model_options()) {
    if (weights.settings.has(spec.name)) path.settings.set(spec, weights.settings.list(spec.name));
    if (!given.has(spec.name)) continue;
    check(spec.fork != OnFork::never, "fork",
          "--{} {}; the model of published weights is their own: leave it out", spec.name,
          show(given.list(spec.name)));
    check(spec.fork == OnFork::changes || is_same_setting(spec.name, weights.settings, given),
          "fork", "--{} {}, but the weights have {}; a path keeps the model that it begins with",
          spec.name, show(given.list(spec.name)),
          weights.settings.has(spec.name) ? weights.settings.text(spec.name) : "none");
    path.settings.set(spec, given.list(spec.name));
  }
  path.model = config_of(path.settings);
  path.model.validate();
}

PathSpecification begin_path(const PathSpecification& weights, const LineageEntry& entry,
                             const Settings& given) {
  PathSpecification path;
  Settings training = given;
  if (!given.has("seq-length")) {
    training.set_text("seq-length", weights.settings.text("seq-length"));
  }
  path.settings = training_settings(training);
  check_precision(path.settings);
  check_schedule_options(path.settings, "the step at which the decay ends");
  take_model(path, weights, given);
  check_positions(path);
  path.split = Split::parse(path.settings.text("split"));
  path.seeds = Seeds(path.seed());
  path.schedule = schedule_of(path.settings);
  path.settings.erase("data-path");
  path.tokenizer = weights.tokenizer;
  path.lineage = {entry};
  return path;
}

// A set without a description is known to fit when its tokens are read.
void check_vocabulary(const std::vector<DataSource>& sources, int64_t vocabulary) {
  for (const auto& source : sources) {
    const auto said = read_dataset_description(source.prefix + ".json");
    const int64_t needed = said ? std::max(said->info.vocabulary, said->info.largest_token + 1) : 0;
    check(needed <= vocabulary, "fork",
          "--data-path {} has a vocabulary of {}, but the weights have {}; at most as many are "
          "allowed",
          source.prefix, needed, vocabulary);
  }
}

void check_given(const Settings& given, std::initializer_list<const char*> needed) {
  std::string missing;
  for (const char* name : needed) {
    if (!given.has(name)) missing += fmt::format("{}--{}", missing.empty() ? "" : ", ", name);
  }
  check(missing.empty(), "fork",
        "a path from published weights needs {}, as a new path does: they have no training options",
        missing);
}

constexpr auto needed_options = {"data-path", "lr", "global-batch-size"};

}  // namespace

std::string missing_from_weights(const Settings& given) {
  for (const char* name : needed_options) {
    if (!given.has(name)) return name;
  }
  return "";
}

PathSpecification path_from_weights(const PathSpecification& weights, const LineageEntry& entry,
                                    const Settings& given) {
  check_given(given, needed_options);
  PathSpecification path = begin_path(weights, entry, given);
  path.stages = {{0, parse_sources(given.list("data-path"))}};
  if (given.has("skip-samples")) skip_samples(given.text("skip-samples"), 0, path.stages);
  check_vocabulary(path.stages.front().sources, path.model.vocabulary);
  const TrainingData data(path.stages, path.sequence_length(), path.seeds, path.split,
                          path.model.vocabulary);
  const auto& info = data.info();
  check(info.tokenizer.empty() || weights.tokenizer.empty() || info.tokenizer == weights.tokenizer,
        "fork", "--data-path {} was made by the tokenizer '{}'; the weights' is '{}'",
        show(given.list("data-path")), info.tokenizer, weights.tokenizer);
  path.stages = data.stages();
  if (!info.tokenizer.empty()) path.tokenizer = info.tokenizer;
  return path;
}

PathSpecification path_from_weights_without_data(const PathSpecification& weights,
                                                 const LineageEntry& entry, const Settings& given) {
  check_given(given, {"lr", "global-batch-size"});
  return begin_path(weights, entry, given);
}

}  // namespace switchyard
