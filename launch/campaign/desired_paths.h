#pragma once

#include "launch/campaign/desired.h"

namespace switchyard {

// What a campaign wants, of all arms and seeds, from the file alone. Throws Error with file, line
// and key where two things would have one folder.
Desired desired_of(const Campaign& campaign);

}  // namespace switchyard
