#include <algorithm>
#include <bit>

#include "core/error.h"
#include "core/random.h"
#include "data/sample_order.h"

namespace switchyard {

namespace {

// The round function: the finaliser of SplitMix64 (Steele, Lea, Flood 2014) over half and round
// key, of which the upper bits are the best.
uint64_t mixed(uint64_t half, uint32_t key, int bits) {
  uint64_t x = (uint64_t{key} << 32 | half) + 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return (x ^ (x >> 31)) >> (64 - bits);
}

}  // namespace

Permutation::Permutation(uint64_t size, uint64_t seed, uint32_t stage, uint32_t set, uint64_t epoch)
    : size_(size) {
  check(size >= 1 && size <= uint64_t{1} << 62, "data",
        "a permutation of {} elements was asked for; 1 to 2^62 is allowed", size);
  half_bits_ = (static_cast<int>(std::bit_width(size - 1)) + 1) / 2;
  static const uint32_t purpose = random_purpose("sample order");
  const RandomKey key{seed, set, purpose + stage};
  for (size_t block = 0; block < 3; ++block) {
    const auto words = key.block(4 * epoch + block);
    std::copy(words.begin(), words.end(), keys_.begin() + 4 * static_cast<std::ptrdiff_t>(block));
  }
}

uint64_t Permutation::operator()(uint64_t index) const {
  check(index < size_, "data", "element {} of a permutation of {} was asked for", index, size_);
  if (half_bits_ == 0) return 0;
  const uint64_t mask = (uint64_t{1} << half_bits_) - 1;
  // The network permutes a power of two; walking its cycle until back inside permutes the rest.
  do {
    uint64_t left = index >> half_bits_;
    uint64_t right = index & mask;
    for (const uint32_t key : keys_) {
      const uint64_t next = left ^ mixed(right, key, half_bits_);
      left = right;
      right = next;
    }
    index = left << half_bits_ | right;
  } while (index >= size_);
  return index;
}

}  // namespace switchyard
