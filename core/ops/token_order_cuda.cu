#include <bit>
#include <utility>

#include "core/cuda/kernel.h"
#include "core/ops/token_order.h"

namespace switchyard::ops {

namespace {

using namespace switchyard::cuda;

// A radix sort from the lowest digit to the highest, each pass stable: tiles count their digits,
// the counts become places, tiles move their elements there.
constexpr int digit_bits = 8, digits = 1 << digit_bits;
constexpr int sort_threads = 256, warps = sort_threads / warp_size;
constexpr int rounds = 4;  // elements of a thread
constexpr int64_t tile = sort_threads * rounds;
static_assert(sort_threads == digits);

struct Keyed {
  uint32_t* rows;
  uint32_t* tokens;
};

__device__ inline uint32_t digit_of(uint32_t row, int shift) { return row >> shift & (digits - 1); }

__global__ void row_keys_kernel(const int32_t* ids, int64_t count, int64_t first_row, int64_t rows,
                                Keyed to) {
  for (int64_t i = thread_index(); i < count; i += thread_count()) {
    const int64_t row = ids[i] - first_row;
    to.rows[i] = static_cast<uint32_t>(row >= 0 && row < rows ? row : rows);
    to.tokens[i] = static_cast<uint32_t>(i);
  }
}

// counts [digits, tiles]
__global__ void count_digits_kernel(const uint32_t* rows, int64_t count, int shift, int64_t tiles,
                                    uint32_t* counts) {
  __shared__ uint32_t of_tile[digits];
  for (int64_t t = blockIdx.x; t < tiles; t += gridDim.x) {
    of_tile[threadIdx.x] = 0;
    __syncthreads();
    for (int r = 0; r < rounds; ++r) {
      const int64_t i = t * tile + r * sort_threads + threadIdx.x;
      if (i < count) atomicAdd(&of_tile[digit_of(rows[i], shift)], 1u);
    }
    __syncthreads();
    counts[threadIdx.x * tiles + t] = of_tile[threadIdx.x];
    __syncthreads();
  }
}

// The sum of the values of this lane and of those before it; every lane must call it.
__device__ inline uint32_t scan_warp(uint32_t value) {
  const unsigned lane = threadIdx.x % warp_size;
  for (unsigned offset = 1; offset < warp_size; offset *= 2) {
    const uint32_t other = __shfl_up_sync(whole_warp, value, offset);
    if (lane >= offset) value += other;
  }
  return value;
}

// The sum of the values of the threads before this one; every thread of the block must call it.
__device__ inline uint32_t scan_block(uint32_t value) {
  __shared__ uint32_t of_warps[warps];
  const unsigned lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  const uint32_t sum = scan_warp(value);
  if (lane == warp_size - 1) of_warps[warp] = sum;
  __syncthreads();
  uint32_t before = sum - value;
  for (unsigned w = 0; w < warp; ++w) before += of_warps[w];
  return before;
}

// A warp for each digit: its counts become the sums of those before them; totals [digits].
__global__ void scan_tiles_kernel(uint32_t* counts, int64_t tiles, uint32_t* totals) {
  const unsigned lane = threadIdx.x % warp_size;
  const int64_t digit = thread_index() / warp_size;
  uint32_t* row = counts + digit * tiles;
  uint32_t before = 0;
  for (int64_t first = 0; first < tiles; first += warp_size) {
    const int64_t t = first + lane;
    const uint32_t count = t < tiles ? row[t] : 0;
    const uint32_t sum = scan_warp(count);
    if (t < tiles) row[t] = before + sum - count;
    before += __shfl_sync(whole_warp, sum, warp_size - 1);
  }
  if (lane == 0) totals[digit] = before;
}

// Moves a tile's elements to their places. A warp has tile / warps elements side by side, 32 in
// each round; the place of one is that of its digit and tile, plus the elements with its digit in
// earlier warps, in earlier rounds of its warp, and in earlier lanes of its round.
__global__ void move_kernel(Keyed from, Keyed to, int64_t count, int shift, int64_t tiles,
                            const uint32_t* counts, const uint32_t* totals) {
  __shared__ uint32_t places[digits];  // of the first element of a digit in the tile
  __shared__ uint32_t of_warps[warps][digits];
  const unsigned lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  const uint32_t digits_before = scan_block(totals[threadIdx.x]);
  for (int64_t t = blockIdx.x; t < tiles; t += gridDim.x) {
    __syncthreads();  // places may still be read from the tile before
    places[threadIdx.x] = digits_before + counts[threadIdx.x * tiles + t];
    for (int w = 0; w < warps; ++w) of_warps[w][threadIdx.x] = 0;
    __syncthreads();
    uint32_t row[rounds], token[rounds], in_warp[rounds];
    const int64_t first = t * tile + warp * (rounds * warp_size) + lane;
#pragma unroll
    for (int r = 0; r < rounds; ++r) {
      const int64_t i = first + r * warp_size;
      const bool is_here = i < count;
      row[r] = is_here ? from.rows[i] : 0;
      token[r] = is_here ? from.tokens[i] : 0;
      const uint32_t digit = digit_of(row[r], shift);
      // Lanes past the end are of no digit.
      const unsigned equal = __match_any_sync(whole_warp, is_here ? digit : unsigned{digits});
      const unsigned earlier = equal & ((1u << lane) - 1);
      in_warp[r] = of_warps[warp][digit] + __popc(earlier);
      __syncwarp();
      if (is_here && earlier == 0) of_warps[warp][digit] += __popc(equal);
      __syncwarp();
    }
    __syncthreads();
    uint32_t before = places[threadIdx.x];
    for (int w = 0; w < warps; ++w) {  // counts of warps become places of their first elements
      const uint32_t in_this_warp = of_warps[w][threadIdx.x];
      of_warps[w][threadIdx.x] = before;
      before += in_this_warp;
    }
    __syncthreads();
#pragma unroll
    for (int r = 0; r < rounds; ++r) {
      if (first + r * warp_size >= count) continue;
      const uint32_t place = of_warps[warp][digit_of(row[r], shift)] + in_warp[r];
      to.rows[place] = row[r];
      to.tokens[place] = token[r];
    }
  }
}

}  // namespace

TokenOrder order_by_row(const Context& context, Scratch::Scope& scope, const Tensor& ids,
                        int64_t first_row, int64_t rows) {
  constexpr std::string_view name = "embedding_backward";
  const int64_t count = ids.shape[0];
  if (count > INT32_MAX || rows > INT32_MAX) {
    throw_error(name, std::to_string(count) + " tokens and a table of " + std::to_string(rows) +
                          " rows were given; at most 2147483647 of each are allowed");
  }
  const int64_t tiles = (count + tile - 1) / tile;
  const auto numbers = [&](int64_t n) {
    return static_cast<uint32_t*>(scope.allocate_bytes(n * static_cast<int64_t>(sizeof(uint32_t))));
  };
  Keyed from{numbers(count), numbers(count)}, to{numbers(count), numbers(count)};
  uint32_t* counts = numbers(digits * tiles);
  uint32_t* totals = numbers(digits);
  launch(name, row_keys_kernel, flat_launch(count, rounds), context.stream, ids.as<int32_t>(),
         count, first_row, rows, from);
  const LaunchShape by_tile = row_launch(tiles, sort_threads);
  const auto bits = static_cast<int>(std::bit_width(static_cast<uint32_t>(rows)));
  for (int shift = 0; shift < bits; shift += digit_bits) {
    launch(name, count_digits_kernel, by_tile, context.stream, from.rows, count, shift, tiles,
           counts);
    launch(name, scan_tiles_kernel, row_launch(digits / warps, sort_threads), context.stream,
           counts, tiles, totals);
    launch(name, move_kernel, by_tile, context.stream, from, to, count, shift, tiles, counts,
           totals);
    std::swap(from, to);
  }
  return {from.rows, from.tokens};
}

}  // namespace switchyard::ops
