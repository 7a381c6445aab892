#include "core/streaming_copy.h"

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <cstdint>
#include <cstring>

namespace switchyard {

namespace {

namespace hn = hwy::HWY_NAMESPACE;

constexpr size_t line = 64;

}  // namespace

void stream_copy(std::byte* to, std::span<const std::byte> from) {
  const hn::CappedTag<uint8_t, line> lanes;
  const auto* source = reinterpret_cast<const uint8_t*>(from.data());
  auto* target = reinterpret_cast<uint8_t*>(to);
  const size_t lines = from.size() / line * line;
  for (size_t at = 0; at < lines; at += hn::Lanes(lanes))
    hn::Stream(hn::LoadU(lanes, source + at), lanes, target + at);
  std::memcpy(to + lines, from.data() + lines, from.size() - lines);
}

void end_streams() { hwy::FlushStream(); }

}  // namespace switchyard
