// Compiled as the emulation compiles kernels: what it must catch, and what it must run.
#include <cmath>
#include <vector>

#include "tests/emulated_cuda/emulation_test.h"

namespace switchyard::cuda::emulation {
namespace {

TEST_F(Emulation, RunsThreadsAndBlocks) {
  fill(stream, at(), 3.0f);
  launch("add", add, {4, 1, 1, 96, 0}, stream, at(), 0.5f, floats);
  EXPECT_EQ(read(stream), std::vector<float>(floats, 3.5f));
}

__global__ void row_sums(const float* x, float* sums, int64_t columns) {
  float sum = 0.0f;
  for (int64_t i = threadIdx.x; i < columns; i += blockDim.x) sum += x[blockIdx.x * columns + i];
  const float all = reduce_block(sum, 0.0f);
  const float most = reduce_block(sum, -INFINITY, Max());
  if (threadIdx.x == 0) sums[2 * blockIdx.x] = all, sums[2 * blockIdx.x + 1] = most;
}

TEST_F(Emulation, ReducesOverBlocksInEveryOrder) {
  constexpr int64_t rows = 300, columns = 777;
  Memory input(4 * rows * columns, Device::cuda, "input"), sums(8 * rows, Device::cuda, "sums");
  std::vector<float> x(static_cast<size_t>(rows * columns)), result(2 * rows);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 257);
  copy_bytes(input.data(), x.data(), input.bytes(), stream);
  for (const int threads : {32, 256, 1024}) {
    launch("row_sums", row_sums, {rows, 1, 1, threads, 0}, stream,
           static_cast<float*>(input.data()), static_cast<float*>(sums.data()), columns);
    copy_bytes(result.data(), sums.data(), sums.bytes(), stream);
    for (size_t row = 0; row < rows; ++row) {
      float expected = 0;
      for (size_t i = 0; i < columns; ++i) expected += x[row * columns + i];
      ASSERT_EQ(result[2 * row], expected) << row;
      ASSERT_LE(result[2 * row + 1], expected);
    }
  }
}

__global__ void warp_functions(unsigned* result) {
  const unsigned lane = threadIdx.x % 32;
  unsigned errors = 0;
  errors += __shfl_up_sync(whole_warp, lane, 3) != (lane < 3 ? lane : lane - 3);
  errors += __shfl_down_sync(whole_warp, lane, 5, 8) != (lane % 8 < 3 ? lane + 5 : lane);
  errors += __shfl_sync(whole_warp, lane, 2, 16) != lane / 16 * 16 + 2;
  errors += __shfl_xor_sync(whole_warp, double(lane), 7) != double(lane ^ 7);
  errors += __ballot_sync(whole_warp, lane % 4 == 1) != 0x22222222u;
  errors += __any_sync(whole_warp, lane == 9) == 0;
  errors += __all_sync(whole_warp, lane != 9) != 0;
  errors += __match_any_sync(whole_warp, lane / 16) != (lane < 16 ? 0xffffu : 0xffff0000u);
  errors += __reduce_add_sync(whole_warp, lane) != 496;
  if (lane < 16) errors += __shfl_xor_sync(0xffffu, lane, 1) != (lane ^ 1);
  __syncwarp();
  errors += __syncthreads_count(threadIdx.x < 40) != 40;
  errors += !__syncthreads_or(threadIdx.x == 63) || __syncthreads_and(threadIdx.x == 63);
  atomicAdd(result, errors);
  atomicMax(result + 1, threadIdx.x);
}

TEST_F(Emulation, HasTheWarpFunctions) {
  launch("warp_functions", warp_functions, {3, 1, 1, 64, 0}, stream,
         static_cast<unsigned*>(device.data()));
  unsigned result[2];
  copy_bytes(result, device.data(), 8, stream);
  EXPECT_EQ(result[0], 0u);
  EXPECT_EQ(result[1], 63u);
}

// Neighbours exchange through shared memory, with or without a barrier.
template <bool barrier>
__global__ void reverse(float* x) {
  __shared__ float numbers[64];
  numbers[threadIdx.x] = x[threadIdx.x];
  if constexpr (barrier) __syncthreads();
  x[threadIdx.x] = numbers[63 - threadIdx.x];
}

TEST_F(Emulation, ShowsAMissingBarrier) {
  std::vector<float> numbers(64), reversed(64);
  float next = 0;  // others each time: what the launch before left behind must not do
  for (int launches = 0; launches < 3; ++launches) {
    for (const bool barrier : {true, false}) {
      for (size_t i = 0; i < 64; ++i) numbers[i] = reversed[63 - i] = ++next;
      copy_bytes(at(), numbers.data(), 256, stream);
      launch("reverse", barrier ? reverse<true> : reverse<false>, {1, 1, 1, 64, 0}, stream, at());
      EXPECT_EQ(read(stream, 64) == reversed, barrier);
    }
  }
}

// A second use of shared memory that some warps reach while others still read the first.
template <bool barrier>
__global__ void twice(float* x) {
  __shared__ float number;
  for (int round = 0; round < 2; ++round) {
    if (threadIdx.x == 0) number = static_cast<float>(round);
    __syncthreads();
    x[threadIdx.x + 128 * round] = number;
    if constexpr (barrier) __syncthreads();
  }
}

TEST_F(Emulation, ShowsSharedMemoryOverwrittenTooEarly) {
  int wrong = 0;
  for (int launches = 0; launches < 3; ++launches) {
    launch("twice", twice<false>, {1, 1, 1, 128, 0}, stream, at());
    wrong += read(stream, 128) != std::vector<float>(128, 0.0f);
    launch("twice", twice<true>, {1, 1, 1, 128, 0}, stream, at());
    EXPECT_EQ(read(stream, 128), std::vector<float>(128, 0.0f));
  }
  EXPECT_GT(wrong, 0);
}

__global__ void read_shared(float* x, int at) { x[threadIdx.x] = dynamic_shared<float>()[at]; }

TEST_F(Emulation, SharedMemoryHoldsNoNumbersAtFirst) {
  launch("read_shared", read_shared, {1, 1, 1, 32, 1024}, stream, at(), 255);
  EXPECT_TRUE(std::isnan(read(stream, 1)[0]));
}

__global__ void static_shared(float* x, bool write) {
  __shared__ float number;
  if (write && threadIdx.x == 0) number = 1.0f;
  __syncthreads();
  if (blockIdx.x + 1 == gridDim.x) x[threadIdx.x] = number;
}

TEST_F(Emulation, StaticSharedMemoryForgetsEarlierBlocks) {
  launch("static_shared", static_shared, {1, 1, 1, 32, 0}, stream, at(), true);
  EXPECT_EQ(read(stream, 1)[0], 1.0f);
  launch("static_shared", static_shared, {1, 1, 1, 32, 0}, stream, at(), false);
  EXPECT_TRUE(std::isnan(read(stream, 1)[0]));
}

TEST_F(Emulation, SharedMemoryEnds) {
  auto run = [&] {
    launch("read_shared", read_shared, {1, 1, 1, 32, 1024}, stream, at(), 256);
    stream.synchronize();
  };
  EXPECT_DEATH(run(), "past the end of dynamic shared memory");
}

TEST_F(Emulation, DeviceMemoryEnds) {
  auto run = [&] {
    fill(stream, at(), 1.0f, floats + 1);
    stream.synchronize();
  };
  EXPECT_DEATH(run(), "0 bytes past the end of an allocation of 4000");
}

TEST_F(Emulation, FreedMemoryIsGone) {
  float* gone = nullptr;
  {
    const Memory memory(4096, Device::cuda, "short-lived");
    gone = static_cast<float*>(memory.data());
  }
  auto run = [&] {
    fill(stream, gone, 1.0f, 1);
    stream.synchronize();
  };
  EXPECT_DEATH(run(), "byte 0 of a freed allocation of 4096");
}

TEST_F(Emulation, TheHostCannotTouchDeviceMemory) {
  EXPECT_DEATH(*at(3) = 1.0f, "the host touches device memory: byte 12 of an allocation of 4000");
  stream.synchronize();
  EXPECT_DEATH(*at(3) = 1.0f, "the host touches");
}

__global__ void diverge(int kind) {
  const unsigned thread = threadIdx.x;
  if (kind == 0 && thread < 40) __syncthreads();
  if (kind == 1) {
    if (thread < 40) {
      __syncthreads();
    } else {
      __syncthreads();
    }
  }
  if (kind == 2 && thread < 16) __shfl_sync(whole_warp, thread, 0);
  if (kind == 3) __shfl_sync(thread % 2 == 0 ? whole_warp : 0xffff0000u, thread, 0);
  if (kind == 4) __shfl_sync(thread < 32 ? 0xfu : whole_warp, thread, 0);
  if (kind == 5 && thread < 16) __shfl_sync(0xffffu, thread, 20);
  if (kind == 6 && thread % 2 == 0) __syncthreads();
  if (kind == 6 && thread % 2 == 1) __syncwarp();
}

TEST_F(Emulation, ReportsDivergence) {
  const char* messages[] = {"barrier.*has ended|ends while thread .* waits at the barrier",
                            "waits at the barrier .* while thread",
                            "a lane that has ended|ends while thread .* waits for the lanes",
                            "is not in the mask|is at .* with mask",
                            "is not in the mask",
                            "reads lane 20, which is not in the mask",
                            "no thread can go on|has ended|ends while"};
  auto run = [&](int kind) {
    launch("diverge", diverge, {1, 1, 1, 64, 0}, stream, kind);
    stream.synchronize();
  };
  for (int kind = 0; kind < 7; ++kind) {
    EXPECT_DEATH(run(kind), messages[kind]) << kind;
  }
}

TEST_F(Emulation, NewMemoryHoldsNoNumbers) {
  void* fresh = nullptr;
  ASSERT_EQ(cudaMalloc(&fresh, 4), cudaSuccess);
  float value = 0;
  ASSERT_EQ(cudaMemcpy(&value, fresh, 4, cudaMemcpyDefault), cudaSuccess);
  EXPECT_TRUE(std::isnan(value));
  ASSERT_EQ(cudaFree(fresh), cudaSuccess);
}

// Large enough that pages are mapped rather than written, but for those at the ends.
TEST_F(Emulation, LargeMemoryIsFilledFromTheFirstByteToTheLast) {
  constexpr size_t bytes = (size_t{9} << 19) + 16, before = 40, behind = 5008;
  char* fresh = nullptr;
  ASSERT_EQ(cudaMalloc(reinterpret_cast<void**>(&fresh), bytes), cudaSuccess);
  const auto content = [&] {
    std::string text(bytes, ' ');
    EXPECT_EQ(cudaMemcpy(text.data(), fresh, bytes, cudaMemcpyDefault), cudaSuccess);
    return text;
  };
  std::string expected(bytes, '\xff');
  EXPECT_TRUE(content() == expected);
  for (const char value : {'\0', 'x', '\0'}) {
    const size_t filled = bytes - before - behind;
    ASSERT_EQ(cudaMemset(fresh + before, value, filled), cudaSuccess);
    expected.replace(before, filled, filled, value);
    EXPECT_TRUE(content() == expected);
  }
  ASSERT_EQ(cudaFree(fresh), cudaSuccess);
}

TEST_F(Emulation, MemoryIsCounted) {
  size_t before = 0, after = 0, total = 0;
  cudaMemGetInfo(&before, &total);
  {
    const Memory memory(int64_t{1} << 20, Device::cuda, "one");
    cudaMemGetInfo(&after, &total);
    EXPECT_EQ(before - after, size_t{1} << 20);
  }
  cudaMemGetInfo(&after, &total);
  EXPECT_EQ(before, after);
  void* memory = nullptr;
  EXPECT_EQ(cudaMalloc(&memory, total), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaGetLastError(), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

TEST_F(Emulation, RefusesMisuse) {
  float host = 0;
  EXPECT_EQ(cudaMemcpy(at(), &host, 4 * floats + 4, cudaMemcpyDefault), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(at(), &host, 4, cudaMemcpyDeviceToHost), cudaErrorInvalidMemcpyDirection);
  EXPECT_EQ(cudaFree(at(1)), cudaErrorInvalidValue);
  cudaStream_t gone = nullptr;
  ASSERT_EQ(cudaStreamCreate(&gone), cudaSuccess);
  ASSERT_EQ(cudaStreamDestroy(gone), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(gone), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidResourceHandle);
}

}  // namespace
}  // namespace switchyard::cuda::emulation
