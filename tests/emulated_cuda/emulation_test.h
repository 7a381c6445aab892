#pragma once

#include <gtest/gtest.h>

#include <vector>

#include "core/cuda/kernel.h"
#include "core/memory.h"

// Numbers on the emulated device, and kernels that change them.
namespace switchyard::cuda::emulation {

inline constexpr int64_t floats = 1000;

class Emulation : public testing::Test {
 protected:
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }

  float* at(int64_t i = 0) { return static_cast<float*>(device.data()) + i; }
  std::vector<float> read(Stream& from, int64_t count = floats) {
    std::vector<float> values(static_cast<size_t>(count));
    copy_bytes(values.data(), device.data(), 4 * count, from);
    return values;
  }

  Stream stream{Device::cuda}, other{Device::cuda};
  Memory device{4 * floats, Device::cuda, "numbers"};
};

inline __global__ void fill(float* x, float value, int64_t n) {
  for (int64_t i = thread_index(); i < n; i += thread_count()) x[i] = value;
}

inline __global__ void add(float* x, float value, int64_t n) {
  for (int64_t i = thread_index(); i < n; i += thread_count()) x[i] += value;
}

inline void fill(Stream& stream, float* x, float value, int64_t n = floats) {
  launch("fill", static_cast<void (*)(float*, float, int64_t)>(fill), flat_launch(n, 1), stream, x,
         value, n);
}

}  // namespace switchyard::cuda::emulation
