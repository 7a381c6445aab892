#pragma once

#include "launch/campaign/desired.h"
#include "optim/schedule.h"

namespace switchyard {

// The rates that a path of a campaign will have. Throws Error where its options say none.
Schedule planned_schedule(const Desired& desired, const DesiredPath& path);

}  // namespace switchyard
