#pragma once

#include <chrono>

#include "core/device.h"

namespace switchyard {

// Waits for the event; false when it was not reached within the limit.
bool wait_at_most(const Event& event, std::chrono::milliseconds limit);

}  // namespace switchyard
