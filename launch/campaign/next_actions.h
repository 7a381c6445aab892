#pragma once

#include "launch/campaign/found.h"

namespace switchyard {

// Something that is to be done next. Each brings the disk closer to what is desired, and done twice
// it changes nothing more.
struct CampaignAction {
  enum class Kind : uint8_t { fork, extend, train, average, score };
  Kind kind = Kind::train;
  std::string name;  // of the path, the average or the score
  int64_t step = 0;  // fork, extend: where; train: up to which
};
std::string describe(const CampaignAction& action);  // "train main up to step 400"
std::string key_of(const CampaignAction& action);  // the same for what must not run twice at a time

// All that can be done now, what others wait for first: a pure function of what is desired and what
// is found. Empty: everything is done, or what is left waits for a path that is busy. What is busy
// is not touched.
struct PlannerOptions {
  // Retention may take a step of the main path as soon as it goes on, so scores come first.
  bool deletes_steps = false;
  // Beside others the main path goes first, as all wait for it; alone each version is ended before
  // the main path goes on to the next.
  bool side_by_side = false;
};
std::vector<CampaignAction> next_actions(const Desired& desired, const Found& found,
                                         const PlannerOptions& options = {});

bool is_complete(const Desired& desired, const Found& found);

}  // namespace switchyard
