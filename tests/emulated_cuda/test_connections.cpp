#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "core/device.h"
#include "core/memory.h"
#include "tests/emulated_cuda/polled_work.h"

// One connection to the device: work of all streams starts in the order of issue.
namespace switchyard {

namespace {

cudaStream_t native(const Stream& stream) { return static_cast<cudaStream_t>(stream.native()); }

class OneConnection : public testing::Test {
 protected:
  // As a receive does on a GPU, it runs until its sender has come.
  void receive(Stream& stream, const bool& sent) {
    emulated::enqueue_polled(native(stream), [&sent] { return sent; });
  }
  void work(Stream& stream) { cudaMemsetAsync(memory.data(), 1, 64, native(stream)); }
  bool ends(const Stream& stream) {
    for (int look = 0; look < 100; ++look)
      if (cudaStreamQuery(native(stream)) == cudaSuccess) return true;
    return false;
  }

  const int asked = setenv("CUDA_DEVICE_MAX_CONNECTIONS", "1", 1);  // before the first work
  Stream messages{Device::cuda, Priority::high}, computing{Device::cuda};
  Memory memory{64, Device::cuda, "numbers"};
  bool first = false, second = false;
};

TEST_F(OneConnection, WhatRunsKeepsNothingBack) {
  receive(messages, first);
  Event done(Device::cuda);
  done.record(messages);
  work(computing);
  EXPECT_TRUE(ends(computing));
  EXPECT_FALSE(done.is_reached());
  first = true;
  done.synchronize();
}

TEST_F(OneConnection, WhatCannotStartYetKeepsBackWhatCameLater) {
  receive(messages, first);
  receive(messages, second);
  work(computing);
  EXPECT_FALSE(ends(computing));
  first = true;
  EXPECT_TRUE(ends(computing));
  second = true;
  messages.synchronize();
}

TEST_F(OneConnection, AWaitForAnEventDoes) {
  Stream later(Device::cuda);
  Event done(Device::cuda);
  receive(messages, first);
  done.record(messages);
  done.wait(later);
  work(computing);
  EXPECT_FALSE(ends(computing));
  first = true;
  EXPECT_TRUE(ends(computing));
}

}  // namespace

}  // namespace switchyard
