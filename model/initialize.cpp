#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/error.h"
#include "core/memory.h"
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

// Rows of the storage, each an element where it has one axis: the box's rows, and padding behind
// them.
struct Rows {
  int64_t begin = 0;
  int64_t end = 0;
};

int64_t columns_of(const Parameter& p) { return p.local.rank() == 2 ? p.local[1] : 1; }

template <class T>
void write_normal(const Parameter& p, uint64_t seed, Rows rows, T* to) {
  check(p.global.rank() == 2, "initialize", "'{}' has shape {}; normal numbers fill matrices",
        p.name, p.global.to_string());
  const RandomKey key{seed, 0, random_purpose(p.name)};
  const int64_t columns = columns_of(p);
#pragma omp parallel for schedule(static)
  for (int64_t r = rows.begin; r < rows.end; ++r) {
    T* row = to + (r - rows.begin) * columns;
    if (r >= p.box.extent[0]) {
      std::fill_n(row, columns, T(0.0f));
      continue;
    }
    const int64_t element = (p.box.offset[0] + r) * p.global[1] + p.box.offset[1];
    fill_normal_row(row, columns, key, static_cast<uint64_t>(element), p.deviation);
  }
}

template <class T>
void write_rows_as(const Parameter& p, uint64_t seed, Rows rows, void* to) {
  if (p.initial == Initial::normal) return write_normal(p, seed, rows, static_cast<T*>(to));
  std::fill_n(static_cast<T*>(to), (rows.end - rows.begin) * columns_of(p),
              T(p.initial == Initial::ones ? 1.0f : 0.0f));
}

void write_rows(const Parameter& p, uint64_t seed, Rows rows, void* to) {
  if (p.weight.dtype == DType::bf16) return write_rows_as<bf16>(p, seed, rows, to);
  if (p.weight.dtype == DType::f16) return write_rows_as<f16>(p, seed, rows, to);
  write_rows_as<float>(p, seed, rows, to);
}

// Through host memory of a bounded size.
void write_to_device(const Parameter& p, uint64_t seed, const Memory& staging, Stream& stream) {
  const int64_t row_bytes = columns_of(p) * size_of(p.weight.dtype);
  const int64_t most = std::max<int64_t>(1, staging.bytes() / row_bytes);
  check(row_bytes <= staging.bytes(), "initialize", "a row of '{}' has {} bytes; at most {}",
        p.name, row_bytes, staging.bytes());
  for (int64_t begin = 0; begin < p.local[0]; begin += most) {
    const Rows rows{begin, std::min(begin + most, p.local[0])};
    write_rows(p, seed, rows, staging.data());
    copy_bytes(static_cast<std::byte*>(p.weight.data) + begin * row_bytes, staging.data(),
               (rows.end - rows.begin) * row_bytes, stream);
    stream.synchronize();
  }
}

}  // namespace

void initialize_parameters(std::span<const Parameter> parameters, uint64_t seed, Stream& stream) {
  constexpr int64_t most_staging_bytes = 64 << 20;
  int64_t largest = 0;
  for (const Parameter& p : parameters) largest = std::max(largest, p.weight.bytes());
  Memory staging;
  if (stream.device() != Device::cpu) {
    staging = Memory::pinned(std::min(largest, most_staging_bytes), "initial weights");
  }
  for (const Parameter& p : parameters) {
    if (p.weight.device == Device::cpu) {
      write_rows(p, seed, {0, p.local[0]}, p.weight.data);
    } else {
      write_to_device(p, seed, staging, stream);
    }
  }
}

}  // namespace switchyard
