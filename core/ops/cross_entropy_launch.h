#pragma once

#include <algorithm>
#include <cstdint>

#include "core/cuda/launch_shape.h"

// Private to cross entropy's CUDA backend: its launch shape, a pure host function.
namespace switchyard::cuda {

// Two blocks of a multiprocessor keep two rows on their way, so few that between the two passes a
// vocabulary's rows stay in the second-level cache: 50,304 logits of bf16 for each of two blocks on
// each multiprocessor of an H100 are 27 MB.
inline constexpr int cross_entropy_most_threads = 1024;

// A block a row, with 4 packs or more for each thread in long rows.
inline LaunchShape cross_entropy_launch(int64_t rows, int64_t columns, int pack_size) {
  const int64_t packs = columns / pack_size;
  const int64_t threads =
      std::clamp<int64_t>((packs / 4 + 31) / 32 * 32, 32, cross_entropy_most_threads);
  return row_launch(rows, static_cast<int>(threads));
}

}  // namespace switchyard::cuda
