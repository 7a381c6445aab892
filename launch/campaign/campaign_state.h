#pragma once

#include "launch/campaign/found.h"

namespace switchyard {

// How far a path or an average of a campaign is.
struct CampaignRow {
  std::string name;
  int depth = 0;                     // in the tree of forks
  std::string begins{};              // "main@400"; empty: a random start
  std::string state{};               // waiting, running, stopped, finished
  int64_t step = 0;                  // logged or saved
  int64_t first = 0, last = 0;       // it begins behind the first and ends at the last
  double seconds_left = 0;           // of its steps, at the pace of its latest; 0: unknown or none
  std::vector<std::string> notes{};  // saved steps that cannot be read and do not count
};

// Parents before their branches.
std::vector<CampaignRow> campaign_state(const Campaign& campaign, const Desired& desired,
                                        const Found& found);

}  // namespace switchyard
