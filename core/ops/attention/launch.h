#pragma once

#include <cstdint>

#include "core/cuda/launch_shape.h"

// Private to core/ops: tiles and launch shapes of attention's own kernels; pure host functions, and
// constants that the kernels share. A block is 16 x 16 threads over a tile of scores, and holds
// tiles of rows (queries, keys, values, gradients) in fp32, padded to 64, 128 or 256 channels.
namespace switchyard::ops {

inline constexpr int64_t attention_most_head_dim = 256;  // of own kernels and of cuDNN
inline constexpr int attention_side = 16;
inline constexpr int attention_threads = attention_side * attention_side;

constexpr int attention_padded(int64_t head_dim) {
  return head_dim <= 64 ? 64 : head_dim <= 128 ? 128 : 256;
}
// Rows of a tile: fewer where they are long, so that five tiles fit shared memory.
constexpr int attention_rows(int padded) { return padded > 128 ? 32 : 64; }
// Floats from one row of a tile to the next; the gap spreads a column over shared memory's banks.
constexpr int attention_stride(int row) { return row + 4; }

// What a block holds: tiles of rows, and one of scores.
constexpr int64_t attention_shared_bytes(int padded, int tiles_of_rows) {
  const int rows = attention_rows(padded);
  return int64_t{4} * rows * (tiles_of_rows * attention_stride(padded) + attention_stride(rows));
}

inline constexpr int attention_forward_tiles = 2;   // queries; keys, then values
inline constexpr int attention_backward_tiles = 4;  // queries, their gradients; keys, values

// A block for each tile of `length` rows of each head of each sample, on the x axis.
switchyard::cuda::LaunchShape attention_launch(int64_t batch, int64_t heads, int64_t length,
                                               int64_t head_dim, int tiles_of_rows);

}  // namespace switchyard::ops
