#include "launch/campaign/plan_rows.h"

#include <cmath>
#include <map>

#include "core/error.h"
#include "launch/campaign/published.h"
#include "launch/path/run_folder.h"

namespace switchyard {

namespace {

// As the path is, or would be.
PathSpecification specification_of(const Campaign& campaign, const DesiredPath& path,
                                   const Found& found, bool without_data) {
  if (found.paths.contains(path.name)) return RunFolder(folder_of(campaign, path.name)).read();
  if (!path.weights.empty()) return planned_from_weights(path, without_data);
  if (!without_data) return new_path(path.options);
  auto planned = path_without_data(path.options);
  check_rotary_width(planned.model);
  return planned;
}

// The options of a branch that change its steps' tokens are its root's: arms change them for all of
// their paths.
const DesiredPath& root_of(const Desired& desired, const DesiredPath& path) {
  return path.parent.empty() ? path : root_of(desired, desired.path(path.parent));
}

std::string begin_of(const DesiredPath& path) {
  if (!path.parent.empty()) return fmt::format("{}@{}", path.parent, path.fork_step);
  return path.weights.empty() ? "a random start"
                              : std::filesystem::path(path.weights).filename().string();
}

std::vector<std::string> remarks_on(const Campaign& campaign) {
  std::vector<std::string> remarks;
  for (const auto& v : campaign.versions) {
    const double exact = v.share * static_cast<double>(v.steps);
    if (std::abs(exact - static_cast<double>(v.branch_steps)) < 1e-6) continue;
    remarks.push_back(fmt::format("{}: a share of {} of {} steps is {:.2f}; its branch has {}",
                                  v.name, v.share, v.steps, exact, v.branch_steps));
  }
  const size_t last = campaign.versions.size() - 1;
  const double part = static_cast<double>(campaign.versions[last].branch_steps) /
                      static_cast<double>(campaign.end_of(last));
  if (part < 0.1)
    remarks.push_back(fmt::format(
        "{}: its decay is {:.1f}% of all steps behind it, below 10%; a share that grows "
        "(branch.share-growth) keeps it up",
        campaign.versions[last].name, 100 * part));
  return remarks;
}

}  // namespace

CampaignPlan plan_campaign(const Campaign& campaign, const Desired& desired, const Found& found,
                           bool without_data) {
  CampaignPlan plan;
  std::map<std::string, PathSpecification> roots;
  for (const auto& path : desired.paths) {
    const auto& root = root_of(desired, path);
    if (!roots.contains(root.name))
      roots[root.name] = specification_of(campaign, root, found, without_data);
    const auto& as = roots[root.name];
    const int64_t per_step = as.global_batch() * as.sequence_length();
    const double flops = as.model.causal_flops_per_token(as.sequence_length());
    const auto tokens = static_cast<double>(per_step * path.steps());
    plan.rows.push_back(
        {path.name, begin_of(path), path.steps(), per_step * path.steps(), tokens * flops});
    if (plan.tokens_per_step > 0) continue;
    plan.tokens_per_step = per_step;
    plan.model = as.model;
    plan.flops_from_scratch =
        flops *
        static_cast<double>(per_step * steps_from_scratch(campaign, campaign.versions.size() - 1));
  }
  plan.remarks = remarks_on(campaign);
  return plan;
}

}  // namespace switchyard
