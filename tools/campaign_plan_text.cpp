#include <fmt/core.h>

#include <algorithm>

#include "core/json.h"
#include "core/printable.h"
#include "tools/campaign_text.h"

namespace switchyard {

namespace {

std::string show_count(double count) {
  for (const auto& [unit, name] : {std::pair{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}}) {
    if (count >= unit) return fmt::format("{:.4g} {}", count / unit, name);
  }
  return fmt::format("{:.4g}", count);
}

double hours(double flops, double flops_a_second) { return flops / flops_a_second / 3600; }

std::string row_text(const std::string& name, const std::string& begins, int64_t steps,
                     double tokens, double flops, double share, double rate, size_t width) {
  std::string row = fmt::format("{:<{}}  {:<24}  {:>9}  {:>9}  {:>10.4g}", name, width, begins,
                                steps, show_count(tokens), flops / 1e15);
  if (rate > 0) row += fmt::format("  {:>10.4g}", hours(flops, rate));
  return row + fmt::format("  {:>8.1f}%\n", 100 * share);
}

std::string paths_text(const CampaignPlan& plan, double rate) {
  size_t width = 4;
  for (const auto& row : plan.rows) width = std::max(width, row.name.size());
  std::string text = fmt::format("{:<{}}  {:<24}  {:>9}  {:>9}  {:>10}", "path", width, "begins at",
                                 "steps", "tokens", "PFLOP");
  if (rate > 0) text += fmt::format("  {:>10}", "device-h");
  text += "  of scratch\n";
  for (const auto& row : plan.rows)
    text += row_text(row.name, row.begins, row.steps, static_cast<double>(row.tokens), row.flops,
                     row.flops / plan.flops_from_scratch, rate, width);
  return text;
}

// The cost of each arm's versions, one behind another.
std::string versions_text(const Campaign& campaign, const Desired& desired) {
  std::string text =
      fmt::format("\n{:<16}  {:<12}  {:>6}  {:>9}  {:>12}  {:>12}  {:>9}\n", "arm", "version",
                  "seed", "at step", "steps so far", "from scratch", "share");
  for (const auto& v : desired.versions) {
    const int64_t planned = planned_steps(desired, v);
    const int64_t scratch = steps_from_scratch(campaign, v.version);
    text += fmt::format("{:<16}  {:<12}  {:>6}  {:>9}  {:>12}  {:>12}  {:>8.1f}%\n", v.arm,
                        campaign.versions[v.version].name, v.seed, v.step, planned, scratch,
                        100 * static_cast<double>(planned) / static_cast<double>(scratch));
  }
  return text;
}

}  // namespace

std::string plan_text(const Campaign& campaign, const Desired& desired, const CampaignPlan& plan,
                      double flops_a_second) {
  std::string text =
      fmt::format("{}: versions {}, arms {}, seeds {}\n", printable(campaign.folder.string()),
                  campaign.versions.size(), campaign.arms.size(), campaign.seeds.size());
  text +=
      fmt::format("a model of {} weights, {} tokens a step\n\n",
                  show_count(static_cast<double>(plan.model.parameters())), plan.tokens_per_step);
  text += paths_text(plan, flops_a_second);
  text += versions_text(campaign, desired);
  text +=
      "\nfrom scratch: steps of pre-training every version up to this one from a random start over "
      "all data so far\n";
  if (flops_a_second == 0) text += "--device-tflops X tells the hours of one device\n";
  for (const auto& remark : plan.remarks) text += remark + '\n';
  return text;
}

std::string plan_json(const Campaign& campaign, const Desired& desired, const CampaignPlan& plan,
                      double flops_a_second) {
  Json paths = Json::array(), versions = Json::array();
  for (const auto& row : plan.rows) {
    Json path = {
        {"path", row.name},          {"begins", row.begins},
        {"steps", row.steps},        {"tokens", row.tokens},
        {"pflop", row.flops / 1e15}, {"share_of_scratch", row.flops / plan.flops_from_scratch}};
    if (flops_a_second > 0) path["device_hours"] = hours(row.flops, flops_a_second);
    paths.push_back(std::move(path));
  }
  for (const auto& v : desired.versions) {
    versions.push_back({{"version", campaign.versions[v.version].name},
                        {"arm", v.arm},
                        {"seed", v.seed},
                        {"of", v.of},
                        {"step", v.step},
                        {"steps", planned_steps(desired, v)},
                        {"steps_from_scratch", steps_from_scratch(campaign, v.version)}});
  }
  return json_text(Json{{"folder", campaign.folder.string()},
                        {"parameters", plan.model.parameters()},
                        {"tokens_per_step", plan.tokens_per_step},
                        {"paths", std::move(paths)},
                        {"versions", std::move(versions)},
                        {"remarks", plan.remarks}}) +
         '\n';
}

}  // namespace switchyard
