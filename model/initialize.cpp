#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/error.h"
#include "core/random.h"
#include "model/parameters.h"

namespace switchyard {

namespace {

// random_normal of the elements 4 * index ... + 3, from one block of Philox.
std::array<float, 4> normal_block(const RandomKey& key, uint64_t index) {
  const auto words = key.block(index);
  std::array<float, 4> normals;
  for (size_t pair = 0; pair < 4; pair += 2) {
    const double radius = std::sqrt(-2.0 * std::log((words[pair] + 0.5) * 0x1p-32));
    const double angle = 2.0 * std::numbers::pi * (words[pair + 1] + 0.5) * 0x1p-32;
    normals[pair] = static_cast<float>(radius * std::cos(angle));
    normals[pair + 1] = static_cast<float>(radius * std::sin(angle));
  }
  return normals;
}

template <class T>
void fill_normal_row(T* row, int64_t columns, const RandomKey& key, uint64_t element,
                     float deviation) {
  for (int64_t c = 0; c < columns;) {
    const uint64_t at = element + static_cast<uint64_t>(c);
    const auto normals = normal_block(key, at / 4);
    for (uint64_t i = at % 4; i < 4 && c < columns; ++i, ++c) row[c] = T(normals[i] * deviation);
  }
}

// The storage as rows of the last axis, the box's rows first and padding behind them.
template <class T>
void initialize_elements(const Parameter& p, uint64_t seed) {
  T* data = p.weight.as<T>();
  if (p.initial != Initial::normal) {
    std::fill_n(data, p.weight.elements(), T(p.initial == Initial::ones ? 1.0f : 0.0f));
    return;
  }
  check(p.global.rank() == 2, "initialize", "'{}' has shape {}; normal numbers fill matrices",
        p.name, p.global.to_string());
  const RandomKey key{seed, 0, random_purpose(p.name)};
  const int64_t columns = p.local[1];
#pragma omp parallel for schedule(static)
  for (int64_t r = 0; r < p.local[0]; ++r) {
    if (r >= p.box.extent[0]) {
      std::fill_n(data + r * columns, columns, T(0.0f));
      continue;
    }
    const int64_t element = (p.box.offset[0] + r) * p.global[1] + p.box.offset[1];
    fill_normal_row(data + r * columns, columns, key, static_cast<uint64_t>(element), p.deviation);
  }
}

}  // namespace

void initialize_parameter(const Parameter& parameter, uint64_t seed) {
  if (parameter.weight.dtype == DType::bf16) return initialize_elements<bf16>(parameter, seed);
  initialize_elements<float>(parameter, seed);
}

}  // namespace switchyard
