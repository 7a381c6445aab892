#include "launch/campaign/desired.h"

#include <algorithm>
#include <map>

#include "core/error.h"
#include "launch/campaign/desired_arms.h"

namespace switchyard {

const DesiredPath* Desired::find_path(const std::string& name) const {
  const auto found = std::ranges::find(paths, name, &DesiredPath::name);
  return found == paths.end() ? nullptr : &*found;
}

const DesiredPath& Desired::path(const std::string& name) const {
  const auto* found = find_path(name);
  check(found != nullptr, ExitCode::other, "campaign", "'{}' is no path of the campaign", name);
  return *found;
}

void SeedPaths::add_version(size_t version, const std::string& arm, const std::string& of,
                            int64_t step, std::vector<PathPart> parts, const std::string& weights) {
  DesiredVersion added{.version = version,
                       .arm = arm,
                       .seed = seed,
                       .of = of,
                       .step = step,
                       .parts = std::move(parts),
                       .scores = {}};
  const auto& v = campaign.versions[version];
  for (const auto& set : v.held_out) {
    const std::string name = prefix + arm + '/' + v.name + '/' + set.name;
    desired.scores.push_back({name, of, step, weights, set});
    added.scores.push_back(name);
  }
  desired.versions.push_back(std::move(added));
}

Desired desired_of(const Campaign& campaign) {
  Desired desired;
  for (size_t i = 0; i < campaign.seeds.size(); ++i) {
    const int64_t seed = campaign.seeds[i];
    SeedPaths of{campaign, seed, i == 0 ? "" : fmt::format("seed-{}/", seed), desired};
    if (needs_main(campaign)) desired.paths.push_back(main_path(of));
    for (const Arm arm : campaign.arms) {
      switch (arm) {
        case Arm::path_switching:
          add_path_switching(of);
          break;
        case Arm::ptfs:
          add_ptfs(of);
          break;
        case Arm::cpt:
          add_cpt(of);
          break;
        case Arm::wsd_s:
          add_wsd_s(of);
          break;
        case Arm::averaged_trunk:
          add_averaged_trunk(of);
          break;
        case Arm::soup:
          add_soup(of);
          break;
      }
    }
    if (campaign.scores_main && needs_main(campaign)) add_main_scores(of);
  }
  return desired;
}

int64_t planned_steps(const Desired& desired, const DesiredVersion& version) {
  int64_t steps = 0;
  for (const auto& part : version.parts) steps += part.until - desired.path(part.path).fork_step;
  return steps;
}

int64_t steps_from_scratch(const Campaign& campaign, size_t version) {
  int64_t steps = 0;
  for (size_t i = 0; i <= version; ++i) steps += campaign.end_of(i);
  return steps;
}

}  // namespace switchyard
