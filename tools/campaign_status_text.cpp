#include <fmt/core.h>

#include <algorithm>

#include "core/json.h"
#include "core/printable.h"
#include "data/progress.h"
#include "launch/campaign/campaign_state.h"
#include "launch/campaign/score_files.h"
#include "launch/campaign/step_counts.h"
#include "tools/campaign_text.h"

namespace switchyard {

namespace {

std::string tree_text(const std::vector<CampaignRow>& rows) {
  size_t width = 4;
  const auto name_of_row = [](const CampaignRow& row) {
    const std::string indent(static_cast<size_t>(2 * row.depth), ' ');
    return indent + row.name;
  };
  for (const auto& row : rows) width = std::max(width, name_of_row(row).size());
  std::string text;
  for (const auto& row : rows) {
    std::string line = fmt::format("{:<{}}  {:<8}  ", name_of_row(row), width, row.state);
    const int64_t all = row.last - row.first;
    if (all > 0) {
      const int64_t made = std::clamp<int64_t>(row.step - row.first, 0, all);
      line += fmt::format("{:>8} of {:<8} {:>3}%  ", row.step, row.last, 100 * made / all);
    } else {
      line += fmt::format("{:>8} {:<17}", row.last, "");
    }
    if (!row.begins.empty()) line += row.begins + "  ";
    if (row.seconds_left > 0) line += show_duration(row.seconds_left) + " left";
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + '\n';
    for (const auto& note : row.notes)
      text += fmt::format("{:<{}}  {}\n", "", width, printable(note));
  }
  return text;
}

std::string scores_text(const Campaign& campaign, const Found& found, const DesiredVersion& v) {
  std::string text;
  for (const auto& name : v.scores) {
    const auto score = read_score(campaign, found, name);
    text += fmt::format("  {} ", set_of_score(name));
    text += score ? fmt::format("{:.4f}", (*score)["loss"].get<double>()) : "-";
  }
  return text;
}

double seconds_left(const std::vector<CampaignRow>& rows) {
  double seconds = 0;
  for (const auto& row : rows) seconds += row.seconds_left;
  return seconds;
}

}  // namespace

std::string status_text(const Campaign& campaign, const Desired& desired, const Found& found) {
  const auto rows = campaign_state(campaign, desired, found);
  std::string text = printable(campaign.folder.string()) + "\n\n" + tree_text(rows);
  text += fmt::format("\n{:<16}  {:<12}  {:>6}  {:>17}  {:>6}  {:>8}  loss\n", "arm", "version",
                      "seed", "steps of planned", "redone", "replayed");
  StepCounter counter(campaign);
  for (const auto& v : desired.versions) {
    const auto counts = counter.of(v);
    text += fmt::format("{:<16}  {:<12}  {:>6}  {:>8} of {:<5}  {:>6}  {:>8}{}\n", v.arm,
                        campaign.versions[v.version].name, v.seed, counts.counted,
                        planned_steps(desired, v), counts.redone, counts.replayed,
                        scores_text(campaign, found, v));
  }
  if (const double left = seconds_left(rows); left > 0)
    text +=
        fmt::format("\nabout {} of training left, one job after another\n", show_duration(left));
  return text;
}

std::string status_json(const Campaign& campaign, const Desired& desired, const Found& found) {
  Json paths = Json::array(), versions = Json::array();
  const auto rows = campaign_state(campaign, desired, found);
  for (const auto& row : rows) {
    paths.push_back({{"path", row.name},
                     {"state", row.state},
                     {"begins", row.begins},
                     {"step", row.step},
                     {"first_step", row.first},
                     {"last_step", row.last},
                     {"seconds_left", row.seconds_left}});
    if (!row.notes.empty()) paths.back()["notes"] = row.notes;
  }
  StepCounter counter(campaign);
  for (const auto& v : desired.versions) {
    const auto counts = counter.of(v);
    Json scores = Json::object();
    for (const auto& name : v.scores)
      scores[set_of_score(name)] = read_score(campaign, found, name).value_or(Json());
    versions.push_back({{"version", campaign.versions[v.version].name},
                        {"arm", v.arm},
                        {"seed", v.seed},
                        {"of", v.of},
                        {"step", v.step},
                        {"planned_steps", planned_steps(desired, v)},
                        {"counted_steps", counts.counted},
                        {"redone_steps", counts.redone},
                        {"replayed_steps", counts.replayed},
                        {"scores", std::move(scores)}});
  }
  return json_text(Json{{"folder", campaign.folder.string()},
                        {"paths", std::move(paths)},
                        {"versions", std::move(versions)},
                        {"seconds_left", seconds_left(rows)}}) +
         '\n';
}

}  // namespace switchyard
