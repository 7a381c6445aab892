#pragma once

#include <algorithm>
#include <cstdint>

#include "core/cuda/launch_shape.h"

// Private to the norm's CUDA backend: who works on a row and what is held in registers. Pure host
// functions, tested at sizes that no test machine holds.
namespace switchyard::cuda {

// A warp takes a short row, a block a long one. Accesses are of 16 bytes where all rows begin at a
// multiple of that (`packed`), else of one element. A thread holds `packs` accesses of its row
// between the passes over it; with 0 the row is read again from the caches. Without `warps` blocks
// take short rows, too.
struct NormLayout {
  bool warp_a_row = false;
  int width = 1;  // elements of an access
  int packs = 0;
  int threads = 32;  // of a block

  int rows_at_once() const { return warp_a_row ? threads / 32 : 1; }
};

inline NormLayout norm_layout(int64_t hidden, int pack_size, bool packed, bool warps = true) {
  const auto whole_warps = [](int64_t threads) {
    return static_cast<int>((threads + 31) / 32 * 32);
  };
  const int width = packed ? pack_size : 1;
  const int64_t accesses = hidden / width;
  if (packed && warps && accesses <= 4 * 32) {
    return {true, width, static_cast<int>((accesses + 31) / 32), 128};
  }
  if (packed && accesses <= 4 * 512) {
    const int packs = accesses <= 2 * 384 ? 2 : 4;
    return {false, width, packs, whole_warps((accesses + packs - 1) / packs)};
  }
  return {false, width, 0, whole_warps(std::min<int64_t>(accesses, 512))};
}

// How many blocks, of at most `threads` or as many threads in smaller ones, a multiprocessor has
// room for by their registers. Those blocks fill its memory pipes while others add up a row.
struct NormResidents {
  int threads, blocks;
};
constexpr NormResidents norm_forward_residents(int packs) {
  return packs == 2 ? NormResidents{384, 3} : NormResidents{512, 1};
}

inline LaunchShape norm_forward_launch(const NormLayout& layout, int64_t rows) {
  const int64_t in_block = layout.rows_at_once();
  return row_launch(rows / in_block + (rows % in_block != 0 ? 1 : 0), layout.threads);
}

// Backward's blocks stay and walk over their rows, one wave of them on all multiprocessors, so that
// there are few sums of the parameters' gradients to be added up. Its limits to the registers of a
// thread follow: where a warp takes a row, a multiprocessor has one block of this many threads, ...
constexpr int norm_backward_warps_threads(int packs) { return packs == 4 ? 256 : 384; }
// ... where a block does, these.
constexpr NormResidents norm_backward_residents(int packs) {
  return packs == 2 ? NormResidents{384, 2} : NormResidents{512, 1};
}

// A block keeps `sums` of its rows, each [hidden] f32, in shared memory where they have room.
struct NormBackwardLaunch {
  LaunchShape shape;
  bool sums_in_shared = true;

  int64_t partial_floats(int64_t hidden, int sums) const { return shape.x * sums * hidden; }
};

inline NormBackwardLaunch norm_backward_launch(NormLayout layout, int64_t rows, int64_t hidden,
                                               int sums, int64_t multiprocessors) {
  constexpr int64_t aside = 1 << 10;  // of shared memory, by each block for other things
  const int64_t bytes = hidden * sums * static_cast<int64_t>(sizeof(float));
  const bool in_shared = bytes + aside <= most_shared_bytes;
  int64_t resident = 1;
  if (layout.warp_a_row) {
    layout.threads = norm_backward_warps_threads(layout.packs);
  } else if (in_shared) {
    const NormResidents most = norm_backward_residents(layout.packs);
    resident = std::min<int64_t>(most.threads * most.blocks / layout.threads,
                                 most_shared_bytes / (bytes + aside));
  }
  LaunchShape shape = norm_forward_launch(layout, rows);
  shape.x = std::min(shape.x, multiprocessors * resident);
  shape.shared_bytes = in_shared ? bytes : 0;
  return {shape, in_shared};
}

}  // namespace switchyard::cuda
