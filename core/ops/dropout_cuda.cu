#include "core/cuda/walk_rows.h"
#include "core/ops/backends.h"
#include "core/ops/dropout.h"

namespace switchyard::ops {

namespace {

using namespace switchyard::cuda;

struct Mask {
  RandomKey key;
  const int64_t* row_ids;
  int64_t columns;
  uint32_t threshold;
  float factor;  // 1 / (1 - p)

  __device__ uint64_t first_element(int64_t row) const {
    return static_cast<uint64_t>(row_ids[row]) * static_cast<uint64_t>(columns);
  }
  template <class T>
  __device__ T of(uint32_t word, T x) const {
    return from_float<T>(word < threshold ? 0.0f : to_float(x) * factor);
  }
};

// Rows whose first elements are multiples of 4, so that groups of 4 elements share random words.
template <class T>
__global__ void dropout_groups_kernel(RowWalk walk, const T* x, T* y, Mask mask) {
  mask.key = in_this_step(mask.key);
  walk_rows<Pack<T>::size>(
      walk,
      [=]<int n>(int64_t row, int64_t i) { return load_group<n>(x + row * mask.columns + i); },
      [=]<int n>(int64_t row, int64_t i, Group<T, n> group) {
        if constexpr (n % 4 == 0) {
          const uint64_t block = (mask.first_element(row) + static_cast<uint64_t>(i)) / 4;
#pragma unroll
          for (int b = 0; b < n / 4; ++b) {
            const auto words = mask.key.block(block + static_cast<uint64_t>(b));
#pragma unroll
            for (int j = 0; j < 4; ++j) group[4 * b + j] = mask.of(words[j], group[4 * b + j]);
          }
          store_group(y + row * mask.columns + i, group);
        }
      });
}

// Any rows: a thread has the elements of one block of four random words that lie in its row.
template <class T>
__global__ void dropout_kernel(RowWalk walk, const T* x, T* y, Mask mask) {
  mask.key = in_this_step(mask.key);
  walk_rows<1>(
      walk, [=]<int n>(int64_t row, int64_t) { return mask.first_element(row); },
      [=]<int n>(int64_t row, int64_t i, uint64_t first) {
        const int64_t begin = 4 * i - static_cast<int64_t>(first % 4);
        const auto words = mask.key.block(first / 4 + static_cast<uint64_t>(i));
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          const int64_t column = begin + j, at = row * mask.columns + column;
          if (column >= 0 && column < mask.columns) y[at] = mask.of(words[j], x[at]);
        }
      });
}

}  // namespace

void cuda::dropout(const Context& context, const Tensor& x, const Tensor& y,
                   const Dropout& options) {
  if (options.probability == 0) {
    if (x.data != y.data) cuda::copy(context, x, y);
    return;
  }
  const int64_t rows = x.shape[0], columns = x.shape[1];
  const Mask mask{options.key, options.row_ids.as<int64_t>(), columns,
                  dropout_threshold(options.probability),
                  static_cast<float>(1.0 / (1.0 - options.probability))};
  with_floating(x.dtype, [&]<class T>() {
    if (takes_packs<T>(x.data, columns) && takes_packs<T>(y.data, columns)) {
      launch_walk("dropout", dropout_groups_kernel<T>, row_walk(rows, columns, Pack<T>::size),
                  context.stream, x.as<T>(), y.as<T>(), mask);
    } else {
      // A row touches at most (columns + 6) / 4 blocks of random words.
      launch_walk("dropout", dropout_kernel<T>, row_walk(rows, (columns + 6) / 4, 1),
                  context.stream, x.as<T>(), y.as<T>(), mask);
    }
  });
}

}  // namespace switchyard::ops
