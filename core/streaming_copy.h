#pragma once

#include <cstddef>
#include <span>

namespace switchyard {

// Copies past the core's caches, which so neither read what is overwritten nor lose what they hold.
// `to` begins at a multiple of 64 bytes; the two do not overlap. Other threads see the bytes behind
// end_streams().
void stream_copy(std::byte* to, std::span<const std::byte> from);
void end_streams();

}  // namespace switchyard
