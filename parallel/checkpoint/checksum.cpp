#include "parallel/checkpoint/checksum.h"

#include <algorithm>

#include "core/streaming_copy.h"

// Compiled here for the processors that this program needs: twice as fast as the library.
#define XXH_INLINE_ALL
#include <xxhash.h>

namespace switchyard {

uint64_t checksum_of(std::span<const std::byte> bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

void copy_past_caches(std::byte* to, std::span<const std::byte> from) {
  stream_copy(to, from);
  end_streams();
}

// A step's bytes are in the nearest cache when they are copied.
uint64_t copy_and_sum(std::byte* to, std::span<const std::byte> from) {
  constexpr size_t step_bytes = 4096;
  XXH3_state_t state;
  XXH3_64bits_reset(&state);
  for (size_t at = 0; at < from.size(); at += step_bytes) {
    const auto step = from.subspan(at, std::min(step_bytes, from.size() - at));
    XXH3_64bits_update(&state, step.data(), step.size());
    stream_copy(to + at, step);
  }
  end_streams();
  return XXH3_64bits_digest(&state);
}

}  // namespace switchyard
