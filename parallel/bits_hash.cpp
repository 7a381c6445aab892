#include "parallel/bits_hash.h"

#include <xxhash.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "core/error.h"

namespace switchyard {

uint64_t hash_of_bits(const void* data, int64_t bytes, Device device, Stream& stream) {
  stream.synchronize();
  if (device == Device::cpu) return XXH3_64bits(data, static_cast<size_t>(bytes));
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(),
                                                                       XXH3_freeState);
  check(state && XXH3_64bits_reset(state.get()) == XXH_OK, "hash", "no memory for xxh3");
  constexpr int64_t most = 16 << 20;
  std::vector<char> piece(static_cast<size_t>(std::min(bytes, most)));
  for (int64_t begin = 0; begin < bytes; begin += most) {
    const int64_t count = std::min(most, bytes - begin);
    copy_bytes(piece.data(), static_cast<const char*>(data) + begin, count, stream);
    stream.synchronize();
    XXH3_64bits_update(state.get(), piece.data(), static_cast<size_t>(count));
  }
  return XXH3_64bits_digest(state.get());
}

}  // namespace switchyard
