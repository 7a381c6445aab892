#include "launch/campaign/perform.h"

#include <algorithm>

#include "core/error.h"
#include "core/files.h"
#include "launch/path/fork.h"

namespace switchyard {

namespace {

void append(std::vector<std::string>& words, const std::vector<std::string>& more) {
  words.insert(words.end(), more.begin(), more.end());
}

Job training_job(const Campaign& campaign, const DesiredPath& path, const Found& found,
                 int64_t until) {
  const JobLayout& layout = path.is_main ? campaign.main_layout : campaign.branch_layout;
  Job job;
  job.ranks = layout.ranks;
  job.arguments = {"train", folder_of(campaign, path.name).string()};
  if (!found.paths.contains(path.name)) append(job.arguments, words_of(path.options));
  append(job.arguments, words_of(path.is_main ? campaign.main_run : campaign.branch_run));
  append(job.arguments, words_of(layout.options));
  append(job.arguments, {"--train-iters", std::to_string(until)});
  return job;
}

std::string reference(const Campaign& campaign, const std::string& path, int64_t step) {
  return fmt::format("{}@{}", folder_of(campaign, path).string(), step);
}

Job averaging_job(const Campaign& campaign, const DesiredAverage& mean) {
  Job job;
  job.arguments = {"average"};
  const std::string& first = mean.members.front().first;
  const bool of_one =
      std::ranges::all_of(mean.members, [&](const auto& m) { return m.first == first; });
  if (of_one) {
    std::string steps;
    for (const auto& member : mean.members)
      steps += fmt::format("{}{}", steps.empty() ? "" : ",", member.second);
    append(job.arguments, {folder_of(campaign, first).string(), "--steps", steps});
  } else {
    for (const auto& [path, step] : mean.members)
      job.arguments.push_back(reference(campaign, path, step));
  }
  append(job.arguments,
         {"--weights-of", mean.weights_of, "--output", folder_of(campaign, mean.name).string()});
  return job;
}

Job scoring_job(const Campaign& campaign, const Desired& desired, const DesiredScore& score) {
  Job job;
  job.ranks = campaign.score_layout.ranks;
  const bool is_path = desired.find_path(score.of) != nullptr;
  job.arguments = {"eval", is_path ? reference(campaign, score.of, score.step)
                                   : folder_of(campaign, score.of).string()};
  append(job.arguments, words_of(campaign.score_layout.options));
  if (score.weights != "model") append(job.arguments, {"--weights", score.weights});
  append(job.arguments, {"--json", "--data-path"});
  append(job.arguments, score.set.data);
  job.result = score_file(campaign, score.name);
  make_folder(job.result.parent_path());
  return job;
}

}  // namespace

std::vector<std::string> words_of(const Settings& settings) {
  static const auto specs = [] {
    auto all = path_options();
    for (auto& spec : run_options()) all.push_back(spec);
    return all;
  }();
  std::vector<std::string> words;
  for (const auto& [name, values] : settings.all()) {
    const auto spec = std::ranges::find(specs, name, [](const auto& s) { return long_name(s); });
    const bool is_flag = spec != specs.end() && spec->kind == OptionKind::flag;
    if (is_flag && values.front() != "true") continue;
    words.push_back("--" + name);
    if (!is_flag) append(words, values);
  }
  return words;
}

namespace {

std::string fork_point(const Campaign& campaign, const DesiredPath& path) {
  return path.weights.empty() ? reference(campaign, path.parent, path.fork_step) : path.weights;
}

}  // namespace

std::vector<std::string> command_of(const Campaign& campaign, const Desired& desired,
                                    const CampaignAction& action) {
  const auto& path = desired.path(action.name);
  const std::string folder = folder_of(campaign, path.name).string();
  if (action.kind == CampaignAction::Kind::fork) {
    std::vector<std::string> words = {"fork", fork_point(campaign, path), folder};
    append(words, words_of(path.options));
    return words;
  }
  const auto stage = std::ranges::find(path.stages, action.step, &DesiredStage::at_step);
  std::vector<std::string> words = {"extend", folder, "--at-step", std::to_string(action.step),
                                    "--data-path"};
  append(words, stage->data);
  return words;
}

PlannerOptions planner_options(const Campaign& campaign, bool side_by_side) {
  const auto& run = campaign.main_run;
  return {.deletes_steps = run.has("keep-checkpoints") && run.integer("keep-checkpoints") > 0,
          .side_by_side = side_by_side};
}

bool perform_now(const Campaign& campaign, const Desired& desired, const CampaignAction& action) {
  if (action.kind == CampaignAction::Kind::fork) {
    const auto& path = desired.path(action.name);
    const auto folder = folder_of(campaign, path.name);
    make_folder(folder.parent_path());
    fork(fork_point(campaign, path), folder.string(), path.options);
    return true;
  }
  if (action.kind != CampaignAction::Kind::extend) return false;
  const auto& path = desired.path(action.name);
  const auto stage = std::ranges::find(path.stages, action.step, &DesiredStage::at_step);
  Settings given;
  given.set({.name = "data-path", .kind = OptionKind::list}, stage->data);
  extend(folder_of(campaign, path.name).string(), action.step, given);
  return true;
}

Job job_of(const Campaign& campaign, const Desired& desired, const Found& found,
           const CampaignAction& action) {
  Job job;
  const auto named = [&](const auto& all) {
    return *std::ranges::find(all, action.name, [](const auto& each) { return each.name; });
  };
  switch (action.kind) {
    case CampaignAction::Kind::train:
      job = training_job(campaign, desired.path(action.name), found, action.step);
      break;
    case CampaignAction::Kind::average:
      job = averaging_job(campaign, named(desired.averages));
      break;
    case CampaignAction::Kind::score:
      job = scoring_job(campaign, desired, named(desired.scores));
      break;
    default:
      fail(ExitCode::other, "campaign", "{} is no job", describe(action));
  }
  job.name = key_of(action);
  return job;
}

}  // namespace switchyard
