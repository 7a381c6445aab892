#include "core/random.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/error.h"

namespace switchyard {

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
