#pragma once

#include <type_traits>

#include "core/cuda/kernel.h"
#include "core/cuda/row_walk.h"

// Elementwise kernels in one pass over memory: groups of elements loaded and stored at once, and
// the walk over them. For .cu files.
namespace switchyard::cuda {

// Elements side by side, loaded by accesses of up to 16 bytes and stored by them to global memory;
// the address is a multiple of those.
template <class T, int n>
struct Group {
  static constexpr int size = n;
  T elements[n];
  __device__ T& operator[](int i) { return elements[i]; }
  __device__ const T& operator[](int i) const { return elements[i]; }
};

namespace detail {
template <int bytes>
using Word = std::conditional_t<
    bytes % 16 == 0, uint4,
    std::conditional_t<bytes == 8, uint64_t,
                       std::conditional_t<bytes == 4, uint32_t,
                                          std::conditional_t<bytes == 2, uint16_t, uint8_t>>>>;
template <int bytes>
struct Words {
  static constexpr int count = bytes / static_cast<int>(sizeof(Word<bytes>));
  Word<bytes> words[count];
};

// As a plain assignment the compiler would cut the 16 bytes into stores of elements; __stwb is not
// a weak store.
__device__ inline void store_global(uint4* to, const uint4& words) {
#ifdef __CUDA_ARCH__
  asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(to)),
               "r"(words.x), "r"(words.y), "r"(words.z), "r"(words.w)
               : "memory");
#else
  *to = words;
#endif
}
}  // namespace detail

template <int n, class T>
__device__ inline Group<T, n> load_group(const T* from) {
  using Words = detail::Words<n* static_cast<int>(sizeof(T))>;
  static_assert(sizeof(Words) == sizeof(Group<T, n>));
  const auto* words = reinterpret_cast<const std::remove_extent_t<decltype(Words::words)>*>(from);
  Words held;
#pragma unroll
  for (int i = 0; i < Words::count; ++i) held.words[i] = words[i];
  return std::bit_cast<Group<T, n>>(held);
}
template <class T, int n>
__device__ inline void store_group(T* to, const Group<T, n>& group) {
  using Words = detail::Words<n* static_cast<int>(sizeof(T))>;
  auto* words = reinterpret_cast<std::remove_extent_t<decltype(Words::words)>*>(to);
  const Words held = std::bit_cast<Words>(group);
#pragma unroll
  for (int i = 0; i < Words::count; ++i) {
    if constexpr (sizeof(held.words[i]) == 16) {
      detail::store_global(words + i, held.words[i]);
    } else {
      words[i] = held.words[i];
    }
  }
}

// Calls use<n>(row, column, load<n>(row, column)) for all elements, `width` at a time and the last
// columns % width of a row one by one. Some loads run ahead of uses, so a use may overwrite what
// its own load read, but not what others read.
template <int width, class Load, class Use>
__device__ inline void walk_rows(const RowWalk& walk, const Load& load, const Use& use) {
  using Held = decltype(load.template operator()<width>(int64_t{}, int64_t{}));
  // 64 bytes in flight for each thread fill a GPU's memory pipes at half the possible threads.
  constexpr auto fit = static_cast<int>(64 / sizeof(Held));
  constexpr int unroll = fit < 1 ? 1 : fit > row_walk_unroll ? row_walk_unroll : fit;
  const int64_t lanes = int64_t{1} << walk.lanes_log2;
  const int64_t lane = threadIdx.x & static_cast<unsigned>(lanes - 1);
  const int64_t rows_at_once = blockDim.x >> walk.lanes_log2;
  const int64_t accesses = walk.columns / width;
  for (int64_t row = blockIdx.x * rows_at_once + (threadIdx.x >> walk.lanes_log2); row < walk.rows;
       row += gridDim.x * rows_at_once) {
    for (int64_t begin = blockIdx.y * lanes * unroll + lane; begin < accesses;
         begin += gridDim.y * lanes * unroll) {
      // Conditions on each load would take 16-bit elements apart, at two instructions for each.
      if (begin + (unroll - 1) * lanes < accesses) {
        Held held[unroll];
#pragma unroll
        for (int u = 0; u < unroll; ++u) {
          held[u] = load.template operator()<width>(row, (begin + u * lanes) * width);
        }
#pragma unroll
        for (int u = 0; u < unroll; ++u) {
          use.template operator()<width>(row, (begin + u * lanes) * width, held[u]);
        }
        continue;
      }
      Held held[unroll] = {};
#pragma unroll
      for (int u = 0; u < unroll; ++u) {
        const int64_t i = begin + u * lanes;
        if (i < accesses) held[u] = load.template operator()<width>(row, i * width);
      }
#pragma unroll
      for (int u = 0; u < unroll; ++u) {
        const int64_t i = begin + u * lanes;
        if (i < accesses) use.template operator()<width>(row, i * width, held[u]);
      }
    }
    if constexpr (width > 1) {
      const int64_t i = accesses * width + lane;
      if (blockIdx.y == 0) {
        for (int64_t at = i; at < walk.columns; at += lanes) {
          use.template operator()<1>(row, at, load.template operator()<1>(row, at));
        }
      }
    }
  }
}

// Queues a kernel whose first parameter is the walk.
template <class... Parameters, class... Arguments>
void launch_walk(std::string_view name, void (*kernel)(RowWalk, Parameters...), const RowWalk& walk,
                 const Stream& stream, Arguments... arguments) {
  launch(name, kernel, walk.shape, stream, walk, arguments...);
}

// Calls body.template operator()<width>() with the elements of 16 bytes of T where accesses may be
// that wide, else with 1.
template <class T, class Body>
void with_width(bool packs, const Body& body) {
  if (packs) return body.template operator()<Pack<T>::size>();
  return body.template operator()<1>();
}

}  // namespace switchyard::cuda
