#pragma once

#include "launch/campaign/found.h"
#include "launch/path/specification.h"

namespace switchyard {

// What a path of a campaign takes.
struct PlanRow {
  std::string name;
  std::string begins;  // "a random start", "main@400"
  int64_t steps = 0;
  int64_t tokens = 0;
  double flops = 0;  // of the model's products, causal attention counted once (GptConfig)
};

struct CampaignPlan {
  GptConfig model;
  int64_t tokens_per_step = 0;  // of the main path
  std::vector<PlanRow> rows;
  std::vector<std::string> remarks;  // what was rounded, what is worth to know
  double flops_from_scratch = 0;     // of all versions, of one seed
};

// The steps, tokens and products of each path. Without data the vocabulary is the preset's or
// --vocab-size. Throws Error.
CampaignPlan plan_campaign(const Campaign& campaign, const Desired& desired, const Found& found,
                           bool without_data);

}  // namespace switchyard
