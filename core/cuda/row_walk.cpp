#include "core/cuda/row_walk.h"

#include <algorithm>

namespace switchyard::cuda {

namespace {

constexpr int64_t most_blocks = 1 << 17;  // they fill any GPU many times

int64_t divide_up(int64_t a, int64_t b) { return a / b + (a % b != 0 ? 1 : 0); }

// The most lanes of which at most an eighth would be idle; all threads where rows are too few to
// take the others.
int lanes_log2_of(int64_t rows, int64_t accesses) {
  int log2 = 8;
  static_assert(row_walk_threads == 1 << 8);
  for (; log2 > 0; --log2) {
    const int64_t lanes = int64_t{1} << log2;
    if (row_walk_threads / lanes * 2 > rows) break;
    if (divide_up(accesses, lanes) * lanes - accesses <= accesses / 8) break;
  }
  return log2;
}

}  // namespace

RowWalk row_walk(int64_t rows, int64_t columns, int width) {
  const int64_t accesses = std::max<int64_t>(1, divide_up(columns, width));
  RowWalk walk;
  walk.rows = rows;
  walk.columns = columns;
  walk.lanes_log2 = lanes_log2_of(rows, accesses);
  const int64_t lanes = int64_t{1} << walk.lanes_log2;
  const int64_t pieces = divide_up(accesses, lanes * row_walk_unroll);
  walk.shape.y = std::min(pieces, most_blocks_yz);
  walk.shape.x = std::clamp<int64_t>(divide_up(rows, row_walk_threads / lanes), 1,
                                     std::max<int64_t>(1, most_blocks / walk.shape.y));
  walk.shape.threads = row_walk_threads;
  return walk;
}

}  // namespace switchyard::cuda
