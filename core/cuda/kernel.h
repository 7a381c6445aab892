#pragma once

#include <bit>
#include <cstdint>

#include "core/cuda/launch.h"
#include "core/half.h"
#include "core/random.h"

// The vocabulary of kernels: vector accesses, conversions, sums over warps and blocks. For .cu
// files.
namespace switchyard::cuda {

inline constexpr int warp_size = 32;
inline constexpr unsigned whole_warp = 0xffffffffu;

// This thread's number in the launch, and how many there are; 64-bit.
__device__ inline int64_t thread_index() {
  return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ inline int64_t thread_count() { return static_cast<int64_t>(gridDim.x) * blockDim.x; }

// Conversions; in fp32 for the 16-bit types.
__device__ inline float to_float(float x) { return x; }
__device__ inline float to_float(bf16 x) { return static_cast<float>(x); }
__device__ inline float to_float(f16 x) {
#ifdef __CUDA_ARCH__
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
  return y;
#else
  return static_cast<float>(x);
#endif
}
template <class T>
__device__ inline T from_float(float x);
template <>
__device__ inline float from_float<float>(float x) {
  return x;
}
template <>
__device__ inline bf16 from_float<bf16>(float x) {
#ifdef __CUDA_ARCH__
  bf16 y;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
  return y;
#else
  return bf16(x);
#endif
}
template <>
__device__ inline f16 from_float<f16>(float x) {
#ifdef __CUDA_ARCH__
  f16 y;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
  return y;
#else
  return f16(x);
#endif
}

// For 16-bit results: e^x with an error of some (2 + 1.2 |x|) 2^-24, and 1 / x to 2^-23. Subnormal
// numbers count as 0, which saves half the instructions of __expf and __fdividef.
__device__ inline float fast_exp(float x) {
#ifdef __CUDA_ARCH__
  constexpr float log2_e = 1.4426950408889634f;
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x * log2_e));
  return y;
#else
  return __expf(x);
#endif
}
__device__ inline float fast_reciprocal(float x) {
#ifdef __CUDA_ARCH__
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return __fdividef(1.0f, x);
#endif
}

// 16 bytes of elements, loaded and stored at once; the address is a multiple of 16.
template <class T>
struct Pack {
  static constexpr int size = 16 / sizeof(T);
  T elements[size];
  __device__ T& operator[](int i) { return elements[i]; }
  __device__ const T& operator[](int i) const { return elements[i]; }
};
template <class T>
__device__ inline Pack<T> load_pack(const T* from) {
  return std::bit_cast<Pack<T>>(*reinterpret_cast<const uint4*>(from));
}
template <class T>
__device__ inline void store_pack(T* to, const Pack<T>& pack) {
  *reinterpret_cast<uint4*>(to) = std::bit_cast<uint4>(pack);
}
// Whether rows of `stride` elements that begin at `data` may be read in packs.
template <class T>
inline bool takes_packs(const void* data, int64_t stride) {
  return std::bit_cast<uintptr_t>(data) % 16 == 0 && stride % Pack<T>::size == 0;
}

// Dynamic shared memory of the block, aligned to 16 bytes.
template <class T>
__device__ inline T* dynamic_shared() {
#ifdef __CUDACC__
  extern __shared__ uint4 switchyard_shared_memory[];
  return reinterpret_cast<T*>(switchyard_shared_memory);
#else
  return static_cast<T*>(emulated::dynamic_shared());
#endif
}

struct Sum {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};
struct Max {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a > b ? a : b;
  }
};

// Over all 32 lanes, the same bits on each; every lane must call it.
template <class T, class Operation = Sum>
__device__ inline T reduce_warp(T value, Operation operation = {}) {
  for (int offset = warp_size / 2; offset > 0; offset /= 2) {
    value = operation(value, __shfl_xor_sync(whole_warp, value, offset));
  }
  return value;
}

// Over a block of whole warps, the same bits on each thread and in each run; every thread must call
// it. `identity` leaves the operation's other side as it is.
template <class T, class Operation = Sum>
__device__ inline T reduce_block(T value, T identity, Operation operation = {}) {
  __shared__ T of_warps[warp_size];
  const unsigned lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  value = reduce_warp(value, operation);
  __syncthreads();  // of_warps may still be read from the call before
  if (lane == 0) of_warps[warp] = value;
  __syncthreads();
  value = lane < blockDim.x / warp_size ? of_warps[lane] : identity;
  return reduce_warp(value, operation);
}

// The key with the step of this launch: what the device's memory says, where it is asked.
__device__ inline RandomKey in_this_step(RandomKey key) {
  if (key.step_on_device != nullptr) key.step = *key.step_on_device;
  return key;
}

}  // namespace switchyard::cuda
