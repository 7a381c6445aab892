#include "core/cuda/walk_rows.h"
#include "core/ops/averaging.h"
#include "core/ops/backends.h"

namespace switchyard::ops {

namespace {

using namespace switchyard::cuda;

template <int n>
struct Both {
  Group<float, n> x, mean;
};

template <int width>
__global__ void move_towards_kernel(RowWalk walk, const float* x, float share, float* mean) {
  walk_rows<width>(
      walk,
      [=]<int n>(int64_t, int64_t i) {
        return Both<n>{load_group<n>(x + i), load_group<n>(mean + i)};
      },
      [=]<int n>(int64_t, int64_t i, Both<n> both) {
#pragma unroll
        for (int j = 0; j < n; ++j) {
          const float now = both.x[j], before = both.mean[j], difference = now - before;
          both.mean[j] =
              share < 0.5f ? fmaf(share, difference, before) : fmaf(share - 1.0f, difference, now);
        }
        store_group(mean + i, both.mean);
      });
}

__global__ void add_to_sum_kernel(const float* x, double* sum, int64_t n) {
  for (int64_t i = thread_index(); i < n; i += thread_count()) sum[i] += static_cast<double>(x[i]);
}

__global__ void mean_of_sum_kernel(const double* sum, double count, float* mean, int64_t n) {
  for (int64_t i = thread_index(); i < n; i += thread_count()) {
    mean[i] = static_cast<float>(sum[i] / count);
  }
}

__global__ void mean_of_ring_kernel(const float* ring, int64_t rows, int64_t first, int64_t count,
                                    float* mean, int64_t n) {
  for (int64_t i = thread_index(); i < n; i += thread_count()) {
    double sum = 0;
    for (int64_t row = first, left = count; left > 0; --left) {
      sum += static_cast<double>(ring[row * n + i]);
      row = row + 1 == rows ? 0 : row + 1;
    }
    mean[i] = static_cast<float>(sum / static_cast<double>(count));
  }
}

}  // namespace

void cuda::move_towards(const Context& context, const Tensor& x, double share, const Tensor& mean) {
  const bool packs = takes_packs<float>(x.data, 0) && takes_packs<float>(mean.data, 0);
  with_width<float>(packs, [&]<int width>() {
    launch_walk("move_towards", move_towards_kernel<width>, flat_walk(mean.elements(), width),
                context.stream, x.as<float>(), static_cast<float>(share), mean.as<float>());
  });
}

void cuda::add_to_sum(const Context& context, const Tensor& x, const Tensor& sum) {
  launch("add_to_sum", add_to_sum_kernel, flat_launch(sum.elements(), 4), context.stream,
         x.as<float>(), sum.as<double>(), sum.elements());
}

void cuda::mean_of_sum(const Context& context, const Tensor& sum, int64_t count,
                       const Tensor& mean) {
  launch("mean_of_sum", mean_of_sum_kernel, flat_launch(mean.elements(), 4), context.stream,
         sum.as<double>(), static_cast<double>(count), mean.as<float>(), mean.elements());
}

void cuda::mean_of_ring(const Context& context, const Tensor& ring, int64_t first, int64_t count,
                        const Tensor& mean) {
  launch("mean_of_ring", mean_of_ring_kernel, flat_launch(mean.elements(), 4), context.stream,
         ring.as<float>(), ring.shape[0], first, count, mean.as<float>(), mean.elements());
}

}  // namespace switchyard::ops
