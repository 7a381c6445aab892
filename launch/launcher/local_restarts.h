#pragma once

#include "launch/launcher/launch_plan.h"

namespace switchyard {

// Starts the ranks of this node, and with --restarts again from the last saved step where one was
// lost or hung and no signal asked them to stop. Returns the code to end with.
int run_node(LaunchPlan plan);

}  // namespace switchyard
