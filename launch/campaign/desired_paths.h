#pragma once

#include "launch/campaign/desired.h"

namespace switchyard {

// What a campaign wants, of all arms and seeds, from the file alone.
Desired desired_of(const Campaign& campaign);

}  // namespace switchyard
