#include <algorithm>

#include "core/error.h"
#include "core/text.h"
#include "data/index_file.h"
#include "launch/campaign/agreement.h"
#include "launch/campaign/published.h"
#include "launch/engine/engine_options.h"
#include "launch/engine/world.h"
#include "launch/path/blend.h"
#include "launch/path/run_settings.h"

namespace fs = std::filesystem;

namespace switchyard {

void check_token_set(const std::string& place, const std::string& prefix) {
  for (const char* end : {".idx", ".bin"}) {
    std::error_code ignored;
    check(fs::exists(prefix + end, ignored), "campaign",
          "{}: '{}' is not there; the prefix of a token set, as tokenize writes it, is allowed",
          place, prefix + end);
  }
  try {
    read_index_header(prefix + ".idx");
  } catch (const Error& problem) {
    fail("campaign", "{}: '{}': {}", place, prefix, problem.what());
  }
}

namespace {

void check_folder(const Campaign& campaign) {
  std::error_code ignored;
  check(!fs::exists(campaign.folder, ignored) || fs::is_directory(campaign.folder, ignored),
        "campaign", "{} = \"{}\", which is no folder; a folder is allowed",
        campaign.places.at("folder"), campaign.folder.string());
}

bool is_done(const Found& found, const DesiredPath& path) {
  const auto there = found.paths.find(path.name);
  return there != found.paths.end() && there->second.step >= path.end();
}

// Data that are read by steps which are still to be made: those that a path is made with, and those
// that it goes over to.
void check_path(const Campaign& campaign, const DesiredPath& path, const Found& found) {
  const auto there = found.paths.find(path.name);
  const int64_t step = there == found.paths.end() ? path.fork_step : there->second.step;
  const auto check_all = [&](size_t version, const std::vector<std::string>& data) {
    const std::string place = campaign.versions[version].place + ".data-path";
    for (const auto& source : parse_sources(data)) check_token_set(place, source.prefix);
  };
  const int64_t first_end = path.stages.empty() ? path.end() : path.stages.front().at_step;
  if (path.options.has("data-path") && step < first_end)
    check_all(path.version, path.options.list("data-path"));
  for (size_t i = 0; i < path.stages.size(); ++i) {
    const int64_t end = i + 1 < path.stages.size() ? path.stages[i + 1].at_step : path.end();
    if (step < end) check_all(path.stages[i].version, path.stages[i].data);
  }
}

// Where the file says the options that an error names: "FILE:LINE: KEY, FILE:LINE: KEY".
std::string places_named(const Campaign& campaign, const std::string& table,
                         const std::string& problem) {
  std::set<std::string> seen;
  std::string places;
  for (const auto& [key, place] : campaign.places) {
    const size_t dot = key.rfind('.');
    const std::string from = key.substr(0, dot), option = key.substr(dot + 1);
    const bool is_meant = from == table || from == "train" || from.starts_with("layout");
    const size_t at = problem.find("--" + option + ' ');
    if (!is_meant || at == std::string::npos || !seen.insert(place).second) continue;
    places += (places.empty() ? "" : ", ") + place;
  }
  return places.empty() ? campaign.file.string() : places;
}

// What a layout asks of a path on any device.
void check_layout(const PathSpecification& path, const JobLayout& layout) {
  Settings run = layout.options;
  run.erase("tp-comm-overlap");
  run.set_text("device", "cpu");
  run = with_fallbacks(run_options(), run);
  EngineOptions options = engine_options(path, run, true);
  options.dtype = DType::f32;
  check_engine(options,
               layout_of(static_cast<int>(layout.ranks), run.integer("tensor-model-parallel-size"),
                         run.integer("pipeline-model-parallel-size")));
}

// A path from a random start as `train` would make it, and its branches as they would be trained.
void check_new(const Campaign& campaign, const DesiredPath& path) {
  try {
    const auto made = path.weights.empty() ? new_path(path.options) : planned_from_weights(path);
    if (path.is_main) check_layout(made, campaign.main_layout);
    check_layout(made, campaign.branch_layout);
    JobLayout score = campaign.score_layout;  // scores have no batch to share
    const Settings shared = with_fallbacks(layout_options(), score.options);
    score.ranks = shared.integer("tensor-model-parallel-size") *
                  shared.integer("pipeline-model-parallel-size");
    score.options.set_text("micro-batch-size", "1");
    check_layout(made, score);
  } catch (const Error& problem) {
    fail("campaign", "{}: '{}' cannot be made: {}",
         places_named(campaign, path.table, problem.what()), path.name, problem.what());
  }
}

// Whether the path is behind a step that was not saved, or is not any more.
bool is_past(const Found& found, const std::string& path, int64_t step) {
  const auto there = found.paths.find(path);
  return there != found.paths.end() && there->second.step >= step &&
         !there->second.saved.contains(step);
}

constexpr const char* is_gone =
    "{}: '{}' needs step {} of '{}', which is at step {} and has not kept it; train.save-interval "
    "and train.keep-checkpoints say what is saved, from a path's start on";

// Means and scores of steps that a path has left behind.
void check_saved(const Campaign& campaign, const Desired& desired, const Found& found) {
  const auto check_one = [&](const std::string& name, const std::string& path, int64_t step) {
    check(!is_past(found, path, step), "campaign", is_gone, campaign.file.string(), name, step,
          path, is_past(found, path, step) ? found.paths.at(path).step : 0);
  };
  for (const auto& mean : desired.averages) {
    if (found.averages.contains(mean.name)) continue;
    for (const auto& [path, step] : mean.members) check_one(mean.name, path, step);
  }
  for (const auto& score : desired.scores) {
    if (!found.scores.contains(score.name)) check_one(score.name, score.of, score.step);
  }
}

}  // namespace

void check_possible(const Campaign& campaign, const Desired& desired, const Found& found) {
  check_folder(campaign);
  for (const auto& path : desired.paths) {
    if (!is_done(found, path)) check_path(campaign, path, found);
  }
  for (const auto& score : desired.scores) {
    if (found.scores.contains(score.name)) continue;
    for (const auto& prefix : score.set.data)
      check_token_set(campaign.file.string() + ": held-out." + score.set.name, prefix);
  }
  check_saved(campaign, desired, found);
  for (const auto& path : desired.paths) {
    if (path.parent.empty() && !found.paths.contains(path.name)) check_new(campaign, path);
  }
}

}  // namespace switchyard
