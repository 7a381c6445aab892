#pragma once

#include <algorithm>
#include <cstdint>

#include "core/ops/context.h"
#include "core/ops/parallel_blocks.h"

// Private to core/ops: sums over rows. Each block of rows adds into a row of its own, then these
// rows are added in order, so the bits do not depend on the number of threads.
namespace switchyard::ops {

class ColumnPartials {
 public:
  // `width` floats for each block of rows, zeroed by the block's thread in `of`.
  ColumnPartials(Scratch::Scope& scope, int64_t rows, int64_t width)
      : block_rows_(std::max<int64_t>(32, (rows + 127) / 128)),
        blocks_((rows + block_rows_ - 1) / block_rows_),
        width_(width),
        data_(static_cast<float*>(
            scope.allocate_bytes(blocks_ * width * static_cast<int64_t>(sizeof(float))))) {}

  int64_t block_rows() const { return block_rows_; }

  // The zeroed row of the block that begins at row `begin`.
  float* of(int64_t begin) const {
    float* row = data_ + begin / block_rows_ * width_;
    std::fill(row, row + width_, 0.0f);
    return row;
  }

  // sums[i] += the sum over blocks of element `first + i`, for i in [0, columns).
  void add_to(float* sums, int64_t first, int64_t columns) const {
    parallel_blocks(columns, 512, [&](int64_t begin, int64_t end) {
      float total[512] = {};
      for (int64_t block = 0; block < blocks_; ++block) {
        const float* row = data_ + block * width_ + first;
        for (int64_t i = begin; i < end; ++i) total[i - begin] += row[i];
      }
      for (int64_t i = begin; i < end; ++i) sums[i] += total[i - begin];
    });
  }

 private:
  int64_t block_rows_;
  int64_t blocks_;
  int64_t width_;
  float* data_;
};

}  // namespace switchyard::ops
