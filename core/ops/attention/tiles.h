#pragma once

#include <omp.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "core/ops/attention/attention.h"

// Private to core/ops: what attention's two passes on the CPU share outside of their kernels.
//
// Both passes work on tiles of 64 queries by 64 keys. Scores are held transposed, keys by queries:
// their product takes the keys as they lie in memory, and the softmax over keys is then element by
// element over vectors of queries, without a sum across lanes.
namespace switchyard::ops {

constexpr int64_t attention_tile = 64;
constexpr int64_t attention_pad = 16;  // floats; rows of tiles are multiples of it

constexpr int64_t pad(int64_t count) {
  return (count + attention_pad - 1) / attention_pad * attention_pad;
}

// Hands out pieces of one thread's share of scratch.
class FloatStack {
 public:
  explicit FloatStack(float* next) : next_(next) {}
  float* take(int64_t count) {
    float* piece = next_;
    next_ += pad(count);
    return piece;
  }

 private:
  float* next_;
};

// Runs task(index, stack) for each index with `floats` of scratch for each thread. Tasks write
// apart from each other, so their results do not depend on which thread runs them.
template <class Task>
void for_attention_tasks(const Context& context, int64_t tasks, int64_t floats, const Task& task) {
  const auto threads = static_cast<int>(std::clamp<int64_t>(tasks, 1, omp_get_max_threads()));
  Scratch::Scope scope(context.scratch);
  auto* memory = static_cast<float*>(scope.allocate_bytes(threads * pad(floats) * 4));
#pragma omp parallel for schedule(dynamic) num_threads(threads)
  for (int64_t i = 0; i < tasks; ++i) {
    task(i, FloatStack(memory + omp_get_thread_num() * pad(floats)));
  }
}

// Where rows of one head lie: row i starts `i * step` elements after `first`.
struct HeadRows {
  int64_t first, step;
};

inline HeadRows rows_of(const Tensor& t, int64_t batch, int64_t head) {
  return {batch * t.stride[0] + head * t.stride[2], t.stride[1]};
}

// A stretch of queries or keys of a tile: where it starts, and the positions of its elements.
struct Stretch {
  int64_t begin, count;
  const int32_t* positions;
  int32_t first() const { return positions[0]; }
  int32_t last() const { return positions[count - 1]; }
};

inline Stretch stretch_of(const Tensor& positions, int64_t begin) {
  return {begin, std::min(attention_tile, positions.shape[0] - begin),
          positions.as<int32_t>() + begin};
}

inline int64_t tiles_of(int64_t length) { return (length + attention_tile - 1) / attention_tile; }

}  // namespace switchyard::ops
