#include <algorithm>

#include "core/cuda/column_sums.h"
#include "core/ops/backends.h"

namespace switchyard::ops {

namespace {

using namespace switchyard::cuda;

constexpr int sum_threads = 256;

// Sums over all elements: a block adds `sum_elements` of them, then one block adds these partial
// sums; both in an order that depends on the number of elements alone.
constexpr int64_t sum_elements = 1 << 15;

struct Itself {
  __device__ double operator()(float x) const { return static_cast<double>(x); }
};
struct Square {
  __device__ double operator()(float x) const {
    return static_cast<double>(x) * static_cast<double>(x);
  }
};

// Elements first ... first + 3, those from n on as 0.
__device__ inline Group<float, 4> load_four(const float* x, int64_t first, int64_t n, bool packs) {
  if (packs && first + 4 <= n) return load_group<4>(x + first);
  Group<float, 4> group = {};
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    if (first + j < n) group[j] = x[first + j];
  }
  return group;
}

template <class Term>
__global__ void partial_sums_kernel(const float* x, int64_t n, bool packs, double* partials) {
  constexpr int unroll = 8;
  constexpr int64_t step = 4 * sum_threads;
  for (int64_t block = blockIdx.x; block * sum_elements < n; block += gridDim.x) {
    double totals[4] = {};
    const int64_t end = (block + 1) * sum_elements;
    for (int64_t i = block * sum_elements + 4 * threadIdx.x; i < end; i += unroll * step) {
      Group<float, 4> held[unroll];
#pragma unroll
      for (int u = 0; u < unroll; ++u) held[u] = load_four(x, i + u * step, n, packs);
#pragma unroll
      for (int u = 0; u < unroll; ++u) {
        for (int j = 0; j < 4; ++j) totals[j] += Term()(held[u][j]);
      }
    }
    const double sum = reduce_block((totals[0] + totals[1]) + (totals[2] + totals[3]), 0.0);
    if (threadIdx.x == 0) partials[block] = sum;
  }
}

// total += the sum of `count` partial sums; one block.
__global__ void __launch_bounds__(most_threads)
    total_kernel(const double* partials, int64_t count, double* total) {
  constexpr int unroll = 4;
  double sum = 0;
  for (int64_t i = threadIdx.x; i < count; i += unroll * blockDim.x) {
    double held[unroll];
#pragma unroll
    for (int u = 0; u < unroll; ++u) {
      const int64_t at = i + u * blockDim.x;
      held[u] = at < count ? partials[at] : 0.0;
    }
#pragma unroll
    for (int u = 0; u < unroll; ++u) sum += held[u];
  }
  sum = reduce_block(sum, 0.0);
  if (threadIdx.x == 0) *total += sum;
}

template <class Term>
void add_sum(std::string_view name, const Context& context, const Tensor& x, const Tensor& total) {
  const int64_t n = x.elements(), blocks = (n + sum_elements - 1) / sum_elements;
  if (n == 0) return;
  Scratch::Scope scope(context.scratch);
  auto* partials = scope.allocate({blocks}, DType::f64).as<double>();
  launch(name, partial_sums_kernel<Term>, row_launch(blocks, sum_threads), context.stream,
         x.as<float>(), n, takes_packs<float>(x.data, 0), partials);
  launch(name, total_kernel, {.threads = most_threads}, context.stream, partials, blocks,
         total.as<double>());
}

// Column sums: a block adds `block_rows` rows of a strip of columns, then these rows of partial
// sums are added. A warp reads n elements of each of 32 lanes side by side.
template <class T, int n>
__global__ void column_partials_kernel(const T* x, int64_t rows, int64_t columns,
                                       int64_t block_rows, float* partials) {
  constexpr int warps = sum_threads / warp_size, strip = warp_size * n, unroll = 4;
  __shared__ float of_warps[warps][strip];
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  const int64_t begin = blockIdx.x * block_rows;
  const int64_t end = begin + block_rows < rows ? begin + block_rows : rows;
  for (int64_t first = int64_t{blockIdx.y} * strip; first < columns;
       first += int64_t{gridDim.y} * strip) {
    float total[n] = {};
    const int64_t column = first + lane * n;
    for (int64_t row = begin + warp; row < end && column < columns; row += unroll * warps) {
      Group<T, n> held[unroll] = {};
#pragma unroll
      for (int u = 0; u < unroll; ++u) {
        const int64_t at = row + u * warps;
        if (at < end) held[u] = load_group<n>(x + at * columns + column);
      }
#pragma unroll
      for (int u = 0; u < unroll; ++u) {
        for (int j = 0; j < n; ++j) total[j] += to_float(held[u][j]);
      }
    }
    for (int j = 0; j < n; ++j) of_warps[warp][lane * n + j] = total[j];
    __syncthreads();
    for (int i = threadIdx.x; i < strip && first + i < columns; i += sum_threads) {
      float sum = 0;
      for (int w = 0; w < warps; ++w) sum += of_warps[w][i];
      partials[blockIdx.x * columns + first + i] = sum;
    }
    __syncthreads();
  }
}

// sums += the column sums of `rows` rows of partial sums.
__global__ void __launch_bounds__(most_threads)
    column_totals_kernel(const float* partials, int64_t rows, int64_t columns, float* sums) {
  constexpr int groups = most_threads / warp_size;
  for (int64_t first = int64_t{blockIdx.x} * warp_size; first < columns;
       first += int64_t{gridDim.x} * warp_size) {
    const int64_t column = first + threadIdx.x % warp_size;
    const bool has_column = column < columns;
    const auto total = sum_rows<1, groups>(has_column ? partials + column : nullptr, rows, columns);
    if (threadIdx.x < warp_size && has_column) sums[column] += total[0];
  }
}

// Rows of a block: about 2048 blocks, which fill a GPU, of 64 to 1024 rows.
int64_t rows_of_block(int64_t rows, int64_t columns) {
  const int64_t strips = (columns + 255) / 256;
  return std::clamp<int64_t>(rows * strips / 2048 / 32 * 32, 64, 1024);
}

}  // namespace

void cuda::sum_of_squares(const Context& context, const Tensor& x, const Tensor& total) {
  add_sum<Square>("sum_of_squares", context, x, total);
}

void cuda::sum(const Context& context, const Tensor& x, const Tensor& total) {
  add_sum<Itself>("sum", context, x, total);
}

void cuda::column_sum(const Context& context, const Tensor& x, const Tensor& sums) {
  const int64_t rows = x.shape[0], columns = x.shape[1];
  if (rows == 0 || columns == 0) return;
  const int64_t block_rows = rows_of_block(rows, columns);
  const int64_t blocks = (rows + block_rows - 1) / block_rows;
  Scratch::Scope scope(context.scratch);
  auto* partials = scope.allocate({blocks, columns}, DType::f32).as<float>();
  with_floating(x.dtype, [&]<class T>() {
    with_width<T>(takes_packs<T>(x.data, columns), [&]<int n>() {
      constexpr int strip = warp_size * n;
      LaunchShape shape = row_launch(blocks, sum_threads);
      shape.y = std::min<int64_t>((columns + strip - 1) / strip, most_blocks_yz);
      launch("column_sum", column_partials_kernel<T, n>, shape, context.stream, x.as<T>(), rows,
             columns, block_rows, partials);
    });
  });
  launch("column_sum", column_totals_kernel,
         row_launch((columns + warp_size - 1) / warp_size, most_threads), context.stream, partials,
         blocks, columns, sums.as<float>());
}

}  // namespace switchyard::ops
