#pragma once

#include "launch/campaign/found.h"

namespace switchyard {

// Looks at the campaign's folder. Throws Error where something there cannot be read, or is not what
// the file asks for: with line, key and both values.
Found look_at(const Campaign& campaign, const Desired& desired);

}  // namespace switchyard
