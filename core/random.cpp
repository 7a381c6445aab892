#include "core/random.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/error.h"

namespace switchyard {

std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
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

std::array<uint32_t, 4> RandomKey::block(uint64_t index) const {
  return philox4x32(
      {static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32), step, purpose},
      {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
}

uint32_t RandomKey::word(uint64_t element) const { return block(element / 4)[element % 4]; }

uint32_t random_purpose(std::string_view name) {
  uint32_t hash = 2166136261u;
  for (const char c : name) hash = (hash ^ static_cast<uint8_t>(c)) * 16777619u;
  return hash;
}

float random_normal(const RandomKey& key, uint64_t element) {
  const auto words = key.block(element / 4);
  const size_t pair = element % 4 / 2 * 2;
  const double u = (words[pair] + 0.5) * 0x1p-32;
  const double angle = 2.0 * std::numbers::pi * (words[pair + 1] + 0.5) * 0x1p-32;
  const double radius = std::sqrt(-2.0 * std::log(u));
  return static_cast<float>(radius * (element % 2 == 0 ? std::cos(angle) : std::sin(angle)));
}

float random_uniform(const RandomKey& key, uint64_t element) {
  return static_cast<float>(key.word(element) >> 8) * 0x1p-24f;
}

uint32_t dropout_threshold(double probability) {
  check(probability >= 0 && probability < 1, "dropout",
        "a probability of {} was given; 0 <= p < 1 is allowed", probability);
  return static_cast<uint32_t>(std::min(std::round(probability * 0x1p32), 0x1p32 - 1));
}

}  // namespace switchyard
