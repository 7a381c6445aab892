#pragma once

#include <cstdint>

namespace switchyard {

// How often this process has waited for a device so far: for a stream, or for an event that was not
// yet reached. Constant while the work of a step is queued.
int64_t host_waits();
void count_host_wait();  // of what waits

}  // namespace switchyard
