#include <algorithm>
#include <bit>
#include <limits>
#include <vector>

#include "core/cuda/walk_rows.h"
#include "core/ops/backends.h"
#include "core/ops/rotary.h"

namespace switchyard::ops {

namespace {

using namespace switchyard::cuda;

constexpr int heads_at_once = 2;

template <class T>
struct Heads {
  T* data;
  int64_t batch, length, heads;
  int64_t batch_stride, token_stride, head_stride;
  int64_t half;  // channels of each half that rotates
};

template <int n>
struct Angles {
  Group<float, 2 * n> pairs;  // cosine, sine
};

// The angles of n channels at a position; no number where the table does not have it.
template <int n>
__device__ inline Angles<n> load_angles(const float* table, int64_t positions, int64_t half,
                                        int32_t position, int64_t channel) {
  if (position >= 0 && position < positions) {
    return {load_group<2 * n>(table + (position * half + channel) * 2)};
  }
  Angles<n> none;
#pragma unroll
  for (int j = 0; j < 2 * n; ++j) none.pairs[j] = std::numeric_limits<float>::quiet_NaN();
  return none;
}

template <class T, int n>
__device__ inline void rotate(Group<T, n>& lower, Group<T, n>& upper, const Angles<n>& angles,
                              float sign) {
#pragma unroll
  for (int j = 0; j < n; ++j) {
    const float cos = angles.pairs[2 * j], sin = sign * angles.pairs[2 * j + 1];
    const float l = to_float(lower[j]), u = to_float(upper[j]);
    lower[j] = from_float<T>(fmaf(-u, sin, l * cos));
    upper[j] = from_float<T>(fmaf(l, sin, u * cos));
  }
}

// A thread rotates n channels of `heads_at_once` heads by the same angles. `lanes` threads (a power
// of two) lie over a token's channels and groups of heads, the others of a block and blocks along y
// over places, blocks along z over the batch.
template <class T, int n>
__global__ void rotary_kernel(Heads<T> x, int lanes_log2, const float* table, int64_t positions,
                              const int32_t* places, float sign) {
  const int64_t groups = x.half / n;
  const int64_t work = groups * ((x.heads + heads_at_once - 1) / heads_at_once);
  const int64_t lanes = int64_t{1} << lanes_log2;
  const int64_t places_at_once = blockDim.x >> lanes_log2;
  const int64_t first_place = blockIdx.y * places_at_once + (threadIdx.x >> lanes_log2);
  const int64_t first_item = blockIdx.x * lanes + (threadIdx.x & (lanes - 1));
  for (int64_t item = first_item; item < work; item += gridDim.x * lanes) {
    const int64_t channel = item % groups * n, first_head = item / groups * heads_at_once;
    for (int64_t place = first_place; place < x.length; place += gridDim.y * places_at_once) {
      const auto angles = load_angles<n>(table, positions, x.half, places[place], channel);
      for (int64_t batch = blockIdx.z; batch < x.batch; batch += gridDim.z) {
        T* lower = x.data + batch * x.batch_stride + place * x.token_stride +
                   first_head * x.head_stride + channel;
        Group<T, n> held[heads_at_once][2] = {};
#pragma unroll
        for (int h = 0; h < heads_at_once; ++h) {
          if (first_head + h >= x.heads) continue;
          held[h][0] = load_group<n>(lower + h * x.head_stride);
          held[h][1] = load_group<n>(lower + h * x.head_stride + x.half);
        }
#pragma unroll
        for (int h = 0; h < heads_at_once; ++h) {
          if (first_head + h >= x.heads) continue;
          rotate(held[h][0], held[h][1], angles, sign);
          store_group(lower + h * x.head_stride, held[h][0]);
          store_group(lower + h * x.head_stride + x.half, held[h][1]);
        }
      }
    }
  }
}

constexpr int rotary_threads = 256;

LaunchShape launch_shape(int64_t work, int64_t length, int64_t batch, int lanes_log2) {
  const int64_t lanes = int64_t{1} << lanes_log2, places_at_once = rotary_threads / lanes;
  return {
      .x = std::clamp<int64_t>((work + lanes - 1) / lanes, 1, 1 << 16),
      .y = std::clamp<int64_t>((length + places_at_once - 1) / places_at_once, 1, most_blocks_yz),
      .z = std::clamp<int64_t>(batch, 1, most_blocks_yz),
      .threads = rotary_threads};
}

template <class T>
bool takes_packs_of(const Heads<T>& x) {
  const int64_t strides[] = {x.batch > 1 ? x.batch_stride : 0, x.length > 1 ? x.token_stride : 0,
                             x.heads > 1 ? x.head_stride : 0, x.half};
  for (const int64_t stride : strides) {
    if (!takes_packs<T>(x.data, stride)) return false;
  }
  return true;
}

}  // namespace

void cuda::rotary_table(const Tensor& table, std::span<const double> frequencies) {
  std::vector<float> numbers(static_cast<size_t>(table.elements()));
  cpu::rotary_table(Tensor(numbers.data(), DType::f32, table.shape), frequencies);
  Stream stream(Device::cuda);
  copy_bytes(table.data, numbers.data(), table.bytes(), stream);
  stream.synchronize();
}

void cuda::rotary(const Context& context, const Tensor& x, const Tensor& table,
                  const Tensor& positions, bool inverse) {
  if (x.elements() == 0) return;
  with_floating(x.dtype, [&]<class T>() {
    const Heads<T> heads{x.as<T>(),   x.shape[0],  x.shape[1],  x.shape[2],
                         x.stride[0], x.stride[1], x.stride[2], table.shape[1]};
    const bool packs = takes_packs_of(heads) && takes_packs<float>(table.data, 0);
    with_width<T>(packs, [&]<int n>() {
      const int64_t work = heads.half / n * ((heads.heads + heads_at_once - 1) / heads_at_once);
      const int lanes_log2 = std::countr_zero(
          std::bit_ceil(static_cast<uint64_t>(std::clamp<int64_t>(work, 1, rotary_threads))));
      launch("rotary", rotary_kernel<T, n>,
             launch_shape(work, heads.length, heads.batch, lanes_log2), context.stream, heads,
             lanes_log2, table.as<float>(), table.shape[0], positions.as<int32_t>(),
             inverse ? -1.0f : 1.0f);
    });
  });
}

}  // namespace switchyard::ops
