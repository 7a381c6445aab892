#pragma once

#include <string>

#include "launch/campaign/found.h"
#include "launch/campaign/plan_rows.h"

namespace switchyard {

// What `campaign plan` and `campaign status` print. flops_a_second: of one device; 0: unknown.
std::string plan_text(const Campaign& campaign, const Desired& desired, const CampaignPlan& plan,
                      double flops_a_second);
std::string plan_json(const Campaign& campaign, const Desired& desired, const CampaignPlan& plan,
                      double flops_a_second);
std::string status_text(const Campaign& campaign, const Desired& desired, const Found& found);
std::string status_json(const Campaign& campaign, const Desired& desired, const Found& found);

}  // namespace switchyard
