#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "core/portable.h"

namespace switchyard {

// Philox 4x32-10: four random words from a counter and a key, without state.
// Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011), section 3.3.
SWITCHYARD_PORTABLE inline std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter,
                                                              std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = uint64_t{0xD2511F53u} * counter[0];
    const uint64_t product1 = uint64_t{0xCD9E8D57u} * counter[2];
    counter = {static_cast<uint32_t>(product1 >> 32) ^ counter[1] ^ key[0],
               static_cast<uint32_t>(product1),
               static_cast<uint32_t>(product0 >> 32) ^ counter[3] ^ key[1],
               static_cast<uint32_t>(product0)};
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
  return counter;
}

// What a stream of random words is for. Element e of it reads word e % 4 of the block whose
// counter is (low and high half of e / 4, step, purpose) and whose key is the seed, so a number
// depends on the element's global index alone, never on which rank asks.
struct RandomKey {
  uint64_t seed = 0;
  uint32_t step = 0;
  uint32_t purpose = 0;
  // Where given, kernels read the step here, in the device's memory, instead of `step`: a captured
  // launch is then the same in every step.
  const uint32_t* step_on_device = nullptr;

  // Of elements 4 * index ... + 3.
  SWITCHYARD_PORTABLE std::array<uint32_t, 4> block(uint64_t index) const {
    return philox4x32(
        {static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32), step, purpose},
        {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
  }
  SWITCHYARD_PORTABLE uint32_t word(uint64_t element) const {
    return block(element / 4)[element % 4];
  }
};

// The purpose of a tensor or dropout site: a hash (FNV-1a, 32 bits) of its global name.
uint32_t random_purpose(std::string_view name);

// A standard normal number for each element, by Box-Muller over neighbouring pairs of words.
float random_normal(const RandomKey& key, uint64_t element);

// A uniform number in [0, 1) with 24 bits.
float random_uniform(const RandomKey& key, uint64_t element);

// Dropout keeps an element when its word is at least this: round(p * 2^32).
uint32_t dropout_threshold(double probability);

}  // namespace switchyard
