#pragma once

#include "launch/campaign/executor.h"
#include "launch/campaign/next_actions.h"

namespace switchyard {

// side_by_side: several jobs run at a time.
PlannerOptions planner_options(const Campaign& campaign, bool side_by_side);

// Forks and extensions are done at once, in this process; false: the action is a job.
bool perform_now(const Campaign& campaign, const Desired& desired, const CampaignAction& action);

// The same as a command's arguments.
std::vector<std::string> command_of(const Campaign& campaign, const Desired& desired,
                                    const CampaignAction& action);

// The command of any other action.
Job job_of(const Campaign& campaign, const Desired& desired, const Found& found,
           const CampaignAction& action);

// Options as words of a command line.
std::vector<std::string> words_of(const Settings& settings);

}  // namespace switchyard
