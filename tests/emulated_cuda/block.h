#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>

#include "tests/emulated_cuda/report.h"

// What a kernel sees of its launch, and the launch.
namespace emulated {

struct Here {
  uint3 thread{0, 0, 0};
  uint3 block{0, 0, 0};
  dim3 threads, blocks;
  void* dynamic_shared = nullptr;
  const char* kernel = nullptr;  // null outside kernels
};
extern thread_local constinit Here here;

inline void* dynamic_shared() { return here.dynamic_shared; }

// Queues a kernel; `body` runs one thread of it. Threads of a block are one-dimensional.
void launch(dim3 blocks, dim3 threads, size_t shared_bytes, cudaStream_t stream,
            std::function<void()> body, std::string_view name = "(unnamed)");

// Runs it at once.
void run_grid(dim3 blocks, dim3 threads, size_t shared_bytes, const std::function<void()>& body,
              const char* name);

// Waits for all threads of the block; returns for how many of them `predicate` was true.
int block_barrier(bool predicate, const Where& where);

enum class WarpKind : uint8_t { synchronize, shuffle, ballot, match };
// Waits for the lanes in `mask`. shuffle: returns the value of lane `source`; ballot: a bit for
// each lane whose value is not 0; match: a bit for each lane with the same value.
uint64_t warp_operation(WarpKind kind, unsigned mask, uint64_t value, int source,
                        const Where& where);

unsigned lane();
unsigned lanes_not_finished();

}  // namespace emulated

inline void __syncthreads(const emulated::Where& where = emulated::Where::current()) {
  emulated::block_barrier(false, where);
}
inline int __syncthreads_count(int predicate,
                               const emulated::Where& where = emulated::Where::current()) {
  return emulated::block_barrier(predicate != 0, where);
}
inline int __syncthreads_or(int predicate,
                            const emulated::Where& where = emulated::Where::current()) {
  return emulated::block_barrier(predicate != 0, where) != 0;
}
inline int __syncthreads_and(int predicate,
                             const emulated::Where& where = emulated::Where::current()) {
  return emulated::block_barrier(predicate == 0, where) == 0;
}
