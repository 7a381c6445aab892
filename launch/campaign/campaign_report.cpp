#include "launch/campaign/campaign_report.h"

#include <algorithm>

#include "core/error.h"
#include "launch/campaign/campaign_state.h"
#include "launch/campaign/planned_schedule.h"
#include "launch/campaign/score_files.h"
#include "launch/campaign/step_counts.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

ReportPath report_path(const Campaign& campaign, const Desired& desired, const Found& found,
                       const DesiredPath& path) {
  ReportPath shown{.name = path.name,
                   .folder = folder_of(campaign, path.name),
                   .is_there = found.paths.contains(path.name),
                   .parent = path.parent,
                   .fork_step = path.fork_step,
                   .last_step = path.end()};
  if (!shown.is_there) {
    shown.schedule = planned_schedule(desired, path);
    shown.imported = fs::path(path.weights).filename();
  }
  return shown;
}

ReportPath report_path(const Campaign& campaign, const Found& found, const DesiredAverage& mean) {
  const auto& [path, step] = mean.members.back();
  return {.name = mean.name,
          .folder = folder_of(campaign, mean.name),
          .is_there = found.averages.contains(mean.name),
          .parent = path,
          .fork_step = step,
          .last_step = step};
}

HeldOutScore held_out_score(const std::string& name, const Json& from) {
  HeldOutScore score{.set = set_of_score(name), .loss = from["loss"].get<double>()};
  score.perplexity = from.value("perplexity", 0.0);
  const auto bits = from.find("bits_per_byte");
  if (bits != from.end() && bits->is_number()) score.bits_per_byte = bits->get<double>();
  score.tokens = from["tokens"].get<int64_t>();
  return score;
}

ReportVersion report_version(const Campaign& campaign, const Desired& desired, const Found& found,
                             const DesiredVersion& from, const std::vector<CampaignRow>& rows,
                             StepCounter& counter) {
  const auto counts = counter.of(from);
  ReportVersion version{.name = campaign.versions[from.version].name,
                        .arm = from.arm,
                        .seed = from.seed,
                        .path = from.of,
                        .state = "waiting",
                        .scores = {},
                        .planned_steps = planned_steps(desired, from),
                        .counted_steps = counts.counted,
                        .redone_steps = counts.redone,
                        .replayed_steps = counts.replayed,
                        .steps_from_scratch = steps_from_scratch(campaign, from.version)};
  const auto row = std::ranges::find(rows, from.of, &CampaignRow::name);
  if (row != rows.end())
    version.state = row->step >= from.step && row->state != "waiting" ? "finished" : row->state;
  for (const auto& name : from.scores) {
    if (const auto score = read_score(campaign, found, name))
      version.scores.push_back(held_out_score(name, *score));
  }
  return version;
}

}  // namespace

ReportInput report_of_campaign(const Campaign& campaign, const Desired& desired,
                               const Found& found) {
  ReportInput input{.title = campaign.folder.filename().string(), .paths = {}, .versions = {}};
  for (const auto& path : desired.paths)
    input.paths.push_back(report_path(campaign, desired, found, path));
  for (const auto& mean : desired.averages)
    input.paths.push_back(report_path(campaign, found, mean));
  const auto rows = campaign_state(campaign, desired, found);
  StepCounter counter(campaign);
  for (const auto& version : desired.versions)
    input.versions.push_back(report_version(campaign, desired, found, version, rows, counter));
  return input;
}

}  // namespace switchyard
