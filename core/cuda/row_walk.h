#pragma once

#include <cstdint>

#include "core/cuda/launch_shape.h"

// How the threads of a launch lie over the elements of a matrix: a pure host function, and in
// walk_rows.h what kernels do with it.
namespace switchyard::cuda {

// `lanes` threads (a power of two) lie side by side in a row and a block has threads / lanes rows
// at once, so that neither short nor long rows leave threads idle. A thread takes `width` elements
// at a time, up to `row_walk_unroll` of these before it uses the first. Blocks along y share a row.
struct RowWalk {
  int64_t rows = 0;
  int64_t columns = 0;  // elements
  int lanes_log2 = 0;
  LaunchShape shape;
};

inline constexpr int row_walk_unroll = 4;
inline constexpr int row_walk_threads = 256;

RowWalk row_walk(int64_t rows, int64_t columns, int width);

// Over elements that lie side by side.
inline RowWalk flat_walk(int64_t elements, int width) { return row_walk(1, elements, width); }

}  // namespace switchyard::cuda
