#include "launch/campaign/agreement.h"

#include <algorithm>

#include "core/error.h"
#include "launch/campaign/published.h"
#include "launch/path/average_members.h"
#include "launch/path/blend.h"
#include "launch/path/imported.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

constexpr const char* advice =
    "what is there never changes: the value of before, or another folder, "
    "is allowed";

std::string place_of(const Campaign& campaign, const std::string& table,
                     const std::string& option) {
  std::vector<std::string> keys = {table + "." + option, "branch." + option, "train." + option};
  static const auto model = model_options();
  if (std::ranges::find(model, option, &OptionSpec::name) != model.end()) {
    for (const std::string& of : {table, std::string("train")}) keys.push_back(of + ".preset");
  }
  for (const auto& key : keys) {
    const auto found = campaign.places.find(key);
    if (found != campaign.places.end()) return found->second;
  }
  return campaign.file.string() + ": " + option;
}

// Whether it begins with the weights that the file names, or those with the file's random start.
void check_weights(const Campaign& campaign, const DesiredPath& wanted,
                   const PathSpecification& path, const fs::path& folder) {
  const auto from = campaign.places.find("from");
  const std::string place = from == campaign.places.end() ? campaign.file.string() : from->second;
  const std::string there = path.begins_with_weights() ? describe(*path.lineage.back().imported)
                            : path.lineage.empty()     ? "a random start"
                                                       : "a step of another path";
  const bool same =
      path.begins_with_weights() && !wanted.weights.empty() && is_made_of(path, wanted.weights);
  check(same, "campaign", "{}: '{}' is to begin with {}, but it begins with {}; {}", place,
        folder.string(), wanted.weights.empty() ? "no published weights" : wanted.weights, there,
        advice);
}

void check_begin(const Campaign& campaign, const DesiredPath& wanted, const PathSpecification& path,
                 const fs::path& folder) {
  const auto& version = campaign.versions[wanted.version];
  check(path.kind == "path", "campaign",
        "{}: '{}' is {}, not the path that is to lie there; another folder is allowed",
        version.place, folder.string(), describe_kind(path));
  if (!wanted.weights.empty() || path.begins_with_weights()) {
    return check_weights(campaign, wanted, path, folder);
  }
  check(path.lineage.empty() == wanted.parent.empty() && path.start_step() == wanted.fork_step,
        "campaign", "{}: '{}' begins at {} by steps and share, but it was made from step {}{}; {}",
        version.place, folder.string(),
        wanted.parent.empty() ? "a random start"
                              : fmt::format("step {} of '{}'", wanted.fork_step, wanted.parent),
        path.start_step(), path.lineage.empty() ? ", a random start" : "", advice);
}

// With the defaults of what the file leaves out, or no longer says.
Settings with_defaults(const PathSpecification& path, Settings given) {
  if (!given.has("vocab-size")) given.set_text("vocab-size", std::to_string(path.model.vocabulary));
  return path_without_data(std::move(given)).settings;
}

void check_options(const Campaign& campaign, const DesiredPath& wanted,
                   const PathSpecification& path, const fs::path& folder) {
  auto differs = contradiction(path, wanted.options);
  if (!differs && !wanted.weights.empty()) {
    if (const auto whole = planned_if_there(wanted)) differs = contradiction(path, whole->settings);
  } else if (!differs && wanted.parent.empty())
    differs = contradiction(path, with_defaults(path, wanted.options));
  if (!differs) return;
  const auto& version = campaign.versions[wanted.version];
  const bool counts = differs->option == "lr-decay-iters";
  fail("campaign", "{}: {} = {}, but '{}' was made with {}; {}",
       counts ? version.place + ": steps and share"
              : place_of(campaign, wanted.table, differs->option),
       differs->option, differs->given, folder.string(), differs->there, advice);
}

// The names of before, or sets that have moved. What cannot be opened under another name is not.
bool is_same_data(const DataStage& stage, const std::vector<std::string>& data,
                  const PathSpecification& path) {
  if (is_named_blend(stage.sources, parse_sources(data))) return true;
  try {
    return is_same_blend(stage.sources, identified_sources(data, path.model.vocabulary));
  } catch (const Error&) {
    return false;
  }
}

void check_data(const Campaign& campaign, size_t version, const std::vector<std::string>& data,
                int64_t step, const PathSpecification& path, const fs::path& folder) {
  const int64_t sample = path.samples_at(step);
  const auto stage = std::ranges::find(path.stages, sample, &DataStage::first_sample);
  if (stage == path.stages.end() || is_same_data(*stage, data, path)) return;
  fail("campaign", "{}.data-path = {}, but '{}' reads {} behind step {}; {}",
       campaign.versions[version].place, show(data), folder.string(), show_blend(stage->sources),
       step, advice);
}

// Stages where the file has none, and steps that were made without one that the file has.
void check_stages(const Campaign& campaign, const DesiredPath& wanted,
                  const PathSpecification& path, const fs::path& folder, const FoundPath& found) {
  for (const auto& stage : wanted.stages) {
    const auto& v = campaign.versions[stage.version];
    check(found.stages.contains(stage.at_step) || found.step <= stage.at_step, "campaign",
          "{}: '{}' goes over to its data behind step {}, but it is at step {} already without "
          "them; {}",
          v.place, folder.string(), stage.at_step, found.step, advice);
    check_data(campaign, stage.version, stage.data, stage.at_step, path, folder);
  }
  for (const auto& stage : path.stages) {
    if (!wanted.is_main || stage.first_sample == 0) continue;
    const int64_t step = stage.first_sample / path.global_batch();
    const bool known =
        std::ranges::any_of(wanted.stages, [&](const auto& each) { return each.at_step == step; });
    check(known, "campaign",
          "{}: '{}' goes over to {} behind step {}, where no version of the file ends; {}",
          campaign.versions.back().place, folder.string(), show_blend(stage.sources), step, advice);
  }
}

}  // namespace

bool has_stage(const PathSpecification& path, int64_t at_step) {
  const int64_t sample = path.samples_at(at_step);
  return std::ranges::find(path.stages, sample, &DataStage::first_sample) != path.stages.end();
}

void check_agreement(const Campaign& campaign, const DesiredPath& wanted,
                     const PathSpecification& path, const fs::path& folder,
                     const FoundPath& found) {
  check_begin(campaign, wanted, path, folder);
  check_options(campaign, wanted, path, folder);
  if (wanted.options.has("data-path"))
    check_data(campaign, wanted.version, wanted.options.list("data-path"), wanted.fork_step, path,
               folder);
  check_stages(campaign, wanted, path, folder, found);
}

void check_agreement(const Campaign& campaign, const DesiredAverage& wanted, const RunFolder& run) {
  const std::string& file = campaign.file.string();
  check(run.read().kind == "average", "campaign",
        "{}: '{}' is no average; another folder is allowed", file, run.folder().string());
  const auto info = CheckpointReader(run.checkpoint(std::nullopt).folder).info();
  std::vector<int64_t> steps;
  for (const auto& [path, step] : wanted.members) steps.push_back(step);
  const auto there = steps_of(members_in(info));
  check(there == steps, "campaign",
        "{}: '{}' is the mean of the steps {} by steps, share and every, "
        "but it was made of {}; {}",
        file, run.folder().string(), show_steps(steps), show_steps(there), advice);
  check(weights_of_in(info) == wanted.weights_of, "campaign",
        "{}: weights-of = \"{}\", but '{}' was made with {}; {}", file, wanted.weights_of,
        run.folder().string(), weights_of_in(info), advice);
}

}  // namespace switchyard
