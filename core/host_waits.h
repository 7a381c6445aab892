#pragma once

#include <chrono>
#include <cstdint>

#include "core/device.h"

namespace switchyard {

// How often this process has waited for a device so far: for a stream, or for an event that was not
// yet reached. Constant while the work of a step is queued.
int64_t host_waits();

// Waits for the event; false when it was not reached within the limit.
bool wait_at_most(const Event& event, std::chrono::milliseconds limit);

}  // namespace switchyard
