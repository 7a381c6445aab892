#pragma once

#include "core/cuda/walk_rows.h"

// For .cu files.
namespace switchyard::cuda {

// The sums over rows of a strip of 32 * n columns, for a block of 32 * groups threads, all of which
// call it: lane l of each warp has columns n * l ... + n - 1. Rows are added in an order that
// depends on their number alone. `first` is row 0 at this lane's columns, null where the lane has
// none; the result is the first warp's.
template <int n, int groups>
__device__ inline Group<float, n> sum_rows(const float* first, int64_t rows, int64_t stride) {
  constexpr int unroll = 8;
  __shared__ float of_groups[groups][warp_size * n];
  const int lane = threadIdx.x % warp_size, group = threadIdx.x / warp_size;
  Group<float, n> total = {};
  for (int64_t row = group; row < rows && first != nullptr; row += unroll * groups) {
    Group<float, n> held[unroll] = {};
#pragma unroll
    for (int u = 0; u < unroll; ++u) {
      const int64_t at = row + u * groups;
      if (at < rows) held[u] = load_group<n>(first + at * stride);
    }
#pragma unroll
    for (int u = 0; u < unroll; ++u) {
      for (int j = 0; j < n; ++j) total[j] += held[u][j];
    }
  }
  __syncthreads();  // of_groups may still be read from the call before
  for (int j = 0; j < n; ++j) of_groups[group][j * warp_size + lane] = total[j];
  __syncthreads();
  total = {};
  for (int g = 0; g < groups && group == 0; ++g) {
    for (int j = 0; j < n; ++j) total[j] += of_groups[g][j * warp_size + lane];
  }
  return total;
}

}  // namespace switchyard::cuda
