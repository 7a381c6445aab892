#pragma once

#include "launch/campaign/desired.h"

namespace switchyard {

// What a campaign wants, of all arms and seeds, from the file alone. Throws Error with file and
// key where two things would have one folder, or an option is missing that each path needs.
Desired desired_of(const Campaign& campaign);

}  // namespace switchyard
