#pragma once

#include "launch/launcher/launch_plan.h"

namespace switchyard {

// What the rank of a launcher's node finds in its environment: torchrun's variables, and nothing
// of a step of srun's, whose only task on this node is the launcher.
void set_rank_environment(const LaunchPlan& plan, int local_rank, int port);

}  // namespace switchyard
