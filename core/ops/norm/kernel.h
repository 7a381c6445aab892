#pragma once

#include <utility>

#include "core/cuda/walk_rows.h"

// Private to the norm's CUDA backend: rows that one warp or one block works on, piece by piece; a
// piece is one element where rows are not aligned, 16 bytes of them where they are.
namespace switchyard::cuda {

// The warp that works on a row; the block's warps take rows side by side.
struct WarpTeam {
  int member = static_cast<int>(threadIdx.x) % warp_size;
  int size = warp_size;
  __device__ int64_t first_row() const {
    return static_cast<int64_t>(blockIdx.x) * (blockDim.x / warp_size) + threadIdx.x / warp_size;
  }
  __device__ int64_t rows_at_once() const { return thread_count() / warp_size; }
  __device__ void sum(float& a) const { a = reduce_warp(a); }
  __device__ void sum(float& a, float& b) const {
    a = reduce_warp(a);
    b = reduce_warp(b);
  }
};

// The block that works on a row.
struct BlockTeam {
  int member = static_cast<int>(threadIdx.x);
  int size = static_cast<int>(blockDim.x);
  __device__ int64_t first_row() const { return blockIdx.x; }
  __device__ int64_t rows_at_once() const { return gridDim.x; }
  __device__ void sum(float& a) const { a = reduce_block(a, 0.0f); }
  // Both with the barriers of one.
  __device__ void sum(float& a, float& b) const {
    __shared__ float2 of_warps[warp_size];
    const unsigned lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
    a = reduce_warp(a);
    b = reduce_warp(b);
    __syncthreads();  // of_warps may still be read from the call before
    if (lane == 0) of_warps[warp] = {a, b};
    __syncthreads();
    const bool any = lane < blockDim.x / warp_size;
    a = reduce_warp(any ? of_warps[lane].x : 0.0f);
    b = reduce_warp(any ? of_warps[lane].y : 0.0f);
  }
};

// 0, as no row is so large, which the compiler does not know: what depends on it is not kept in
// registers from row to row or pass to pass, which would spill.
__device__ inline unsigned unknown_zero(int64_t row) { return static_cast<unsigned>(row >> 62); }

// Calls body(0), ..., body(count - 1), each with a constant, so that arrays stay in registers.
template <int count, class Body>
__device__ inline void unrolled(const Body& body) {
  [&]<int... i>(std::integer_sequence<int, i...>) { (body(i), ...); }
  (std::make_integer_sequence<int, count>());
}

// Calls body(p, piece) for each piece of a row that is this member's; its p-th where it holds them.
template <int packs, class Team, class Body>
__device__ inline void for_pieces(const Team& team, int pieces, const Body& body) {
  if constexpr (packs == 0) {
    for (int piece = team.member; piece < pieces; piece += team.size) body(0, piece);
  } else {
    unrolled<packs>([&](int p) {
      const int piece = team.member + p * team.size;
      if (piece < pieces) body(p, piece);
    });
  }
}

// A member's pieces of a row, in registers, which they take only as whole words; with packs 0 where
// they are in memory.
template <class T, int width, int packs>
struct NormRow {
  uint4 held[packs];

  template <class Team>
  __device__ NormRow(const Team& team, const T* row, int pieces) {
    for_pieces<packs>(team, pieces, [&](int p, int piece) {
      held[p] = *reinterpret_cast<const uint4*>(row + piece * width);
    });
  }
  __device__ Group<T, width> get(int p, int) const {
    return std::bit_cast<Group<T, width>>(held[p]);
  }
  __device__ void set(int p, const Group<T, width>& piece) {
    held[p] = std::bit_cast<uint4>(piece);
  }
  __device__ void is_at(const T*) {}
  // What was computed of the pieces is computed again, not kept in twice their registers, if zero
  // is an unknown_zero.
  __device__ void forget(unsigned zero) {
    unrolled<packs>([&](int p) {
      uint4& words = held[p];
      words = {words.x ^ zero, words.y ^ zero, words.z ^ zero, words.w ^ zero};
    });
  }
};
template <class T, int width>
struct NormRow<T, width, 0> {
  const T* row;

  template <class Team>
  __device__ NormRow(const Team&, const T* memory, int) : row(memory) {}
  __device__ Group<T, width> get(int, int piece) const {
    return load_group<width>(row + piece * width);
  }
  __device__ void set(int, const Group<T, width>&) {}
  __device__ void is_at(const T* memory) { row = memory; }
  __device__ void forget(unsigned) {}
};

// [hidden] of f32 or of the activations' dtype T; may be none.
template <class T>
struct NormParameter {
  const T* narrow = nullptr;
  const float* wide = nullptr;

  __device__ bool given() const { return narrow != nullptr || wide != nullptr; }

  template <int width>
  __device__ void load(int piece, float (&v)[width]) const {
    if (wide == nullptr) {
      const auto from = load_group<width>(narrow + piece * width);
      for (int j = 0; j < width; ++j) v[j] = to_float(from[j]);
    } else {
      const auto from = load_group<width>(wide + piece * width);
      for (int j = 0; j < width; ++j) v[j] = from[j];
    }
  }
};

// Which elements are dropped, as core/ops/dropout.h says.
struct NormMask {
  RandomKey key;
  uint32_t threshold = 0;
  float factor = 1;
  const int64_t* row_ids = nullptr;  // none: everything is kept

  // Of elements first ... + width - 1; a whole piece begins at a multiple of 4.
  template <int width>
  __device__ void apply(uint64_t first, float (&v)[width]) const {
    if constexpr (width == 1) {
      const auto words = key.block(first / 4);
      const unsigned at = first % 4;
      const uint32_t low = at == 0 ? words[0] : words[1], high = at == 2 ? words[2] : words[3];
      v[0] = (at < 2 ? low : high) < threshold ? 0.0f : v[0] * factor;
    } else {
      for (int j = 0; j < width; j += 4) {
        const auto words = key.block(first / 4 + j / 4);
        for (int k = 0; k < 4; ++k) v[j + k] = words[k] < threshold ? 0.0f : v[j + k] * factor;
      }
    }
  }
};

}  // namespace switchyard::cuda
