#pragma once

#include <cstdint>

#include "core/device.h"

namespace switchyard {

// xxh3-64 of memory on host or device; from a device it is copied in pieces of a few MiB. Waits for
// what is queued in the stream, not for other streams.
uint64_t hash_of_bits(const void* data, int64_t bytes, Device device, Stream& stream);

}  // namespace switchyard
