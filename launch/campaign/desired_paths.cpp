#include "launch/campaign/desired_paths.h"

#include "core/error.h"
#include "launch/campaign/desired_arms.h"

namespace switchyard {

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

}  // namespace switchyard
