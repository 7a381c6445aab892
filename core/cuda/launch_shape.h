#pragma once

#include <cstdint>
#include <string_view>

// How many threads run a kernel: pure host functions, so that sizes no test machine can hold are
// tested, too. Element counts are 64-bit; kernels walk what one launch cannot reach.
namespace switchyard::cuda {

inline constexpr int most_threads = 1024;                // of a block
inline constexpr int64_t most_shared_bytes = 227 << 10;  // of a block, on Hopper
inline constexpr int64_t most_blocks_x = (int64_t{1} << 31) - 1;
inline constexpr int64_t most_blocks_yz = 65535;

struct LaunchShape {
  int64_t x = 1, y = 1, z = 1;  // blocks
  int threads = 256;            // of a block
  int64_t shared_bytes = 0;     // dynamic shared memory of a block

  int64_t blocks() const { return x * y * z; }
};

// Throws Error naming the kernel where a limit of the hardware is passed or nothing would run.
void check_launch(const LaunchShape& shape, std::string_view kernel);

// For kernels that walk `elements` with a stride of all threads, `per_thread` at a time: blocks for
// all of them, but no more than `most_blocks` (which fill any GPU several times).
LaunchShape flat_launch(int64_t elements, int per_thread, int threads = 256,
                        int64_t most_blocks = 1 << 16);

// For kernels that walk rows with a stride of all blocks: a block a row, up to `most_blocks`.
LaunchShape row_launch(int64_t rows, int threads, int64_t most_blocks = most_blocks_x);

}  // namespace switchyard::cuda
