#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace switchyard {

// The xxh3-64 of the bytes.
uint64_t checksum_of(std::span<const std::byte> bytes);

// Copies past the core's caches, which so neither read what is overwritten nor lose what they hold:
// half of what memcpy takes. `to` begins at a multiple of 64 bytes; the two do not overlap.
void copy_past_caches(std::byte* to, std::span<const std::byte> from);
// The same and the checksum of the bytes, which takes no longer.
uint64_t copy_and_sum(std::byte* to, std::span<const std::byte> from);

}  // namespace switchyard
