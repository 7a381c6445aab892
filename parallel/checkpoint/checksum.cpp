#include "parallel/checkpoint/checksum.h"

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cstring>

// Compiled here for the processors that this program needs: twice as fast as the library.
#define XXH_INLINE_ALL
#include <xxhash.h>

namespace switchyard {

namespace {

constexpr size_t line = 64;
// The checksum has brought so much into the nearest cache, from where it is copied.
constexpr size_t step_bytes = 4096;

namespace hn = hwy::HWY_NAMESPACE;

// Whole lines of them; what is left is behind.
void stream(std::byte* to, const std::byte* from, size_t bytes) {
  const hn::CappedTag<uint8_t, line> lanes;
  const auto* source = reinterpret_cast<const uint8_t*>(from);
  auto* target = reinterpret_cast<uint8_t*>(to);
  for (size_t at = 0; at < bytes; at += hn::Lanes(lanes))
    hn::Stream(hn::LoadU(lanes, source + at), lanes, target + at);
}

void copy_step(std::byte* to, std::span<const std::byte> from) {
  const size_t lines = from.size() / line * line;
  stream(to, from.data(), lines);
  std::memcpy(to + lines, from.data() + lines, from.size() - lines);
}

}  // namespace

uint64_t checksum_of(std::span<const std::byte> bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

void copy_past_caches(std::byte* to, std::span<const std::byte> from) {
  copy_step(to, from);
  hwy::FlushStream();
}

uint64_t copy_and_sum(std::byte* to, std::span<const std::byte> from) {
  XXH3_state_t state;
  XXH3_64bits_reset(&state);
  for (size_t at = 0; at < from.size(); at += step_bytes) {
    const auto step = from.subspan(at, std::min(step_bytes, from.size() - at));
    XXH3_64bits_update(&state, step.data(), step.size());
    copy_step(to + at, step);
  }
  hwy::FlushStream();
  return XXH3_64bits_digest(&state);
}

}  // namespace switchyard
