#include "launch/campaign/desired_paths.h"

#include <algorithm>
#include <map>

#include "core/error.h"
#include "launch/campaign/desired_arms.h"

namespace switchyard {

namespace {

// Names of versions such as "v1" and "v1-stable" can lead to one folder.
void check_names(const Campaign& campaign, const Desired& desired) {
  std::map<std::string, size_t> versions;
  const auto add = [&](const std::string& name, size_t version) {
    const auto [there, is_new] = versions.emplace(name, version);
    check(is_new, "campaign",
          "{}: '{}' would be a folder of version {}, too; another name is allowed",
          campaign.versions[version].place, name, campaign.versions[there->second].name);
  };
  for (const auto& path : desired.paths) add(path.name, path.version);
  for (const auto& v : desired.versions) {
    if (std::ranges::count(desired.averages, v.of, &DesiredAverage::name) > 0) add(v.of, v.version);
  }
}

}  // namespace

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
  for (auto& path : desired.paths) {
    if (path.parent.empty()) path.weights = campaign.from;
  }
  check_names(campaign, desired);
  return desired;
}

}  // namespace switchyard
