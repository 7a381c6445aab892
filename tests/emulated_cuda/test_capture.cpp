#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <thread>

#include "core/device.h"

// What a thread may not do while it captures, and others may.
namespace switchyard {

namespace {

cudaStream_t native(const Stream& stream) { return static_cast<cudaStream_t>(stream.native()); }
cudaEvent_t native(const Event& event) { return static_cast<cudaEvent_t>(event.native()); }

template <class Body>
void in_another_thread(const Body& body) {
  std::thread(body).join();
}

TEST(Capture, KeepsItsThreadFromLookingAtWorkAndNoOther) {
  Stream stream(Device::cuda), other(Device::cuda);
  Event before(Device::cuda);
  before.record(other);
  other.synchronize();
  ASSERT_EQ(cudaStreamBeginCapture(native(stream), cudaStreamCaptureModeThreadLocal), cudaSuccess);
  EXPECT_EQ(cudaEventQuery(native(before)), cudaErrorStreamCaptureUnsupported);
  EXPECT_EQ(cudaEventSynchronize(native(before)), cudaErrorStreamCaptureUnsupported);
  EXPECT_EQ(cudaStreamQuery(native(other)), cudaErrorStreamCaptureUnsupported);
  EXPECT_EQ(cudaStreamSynchronize(native(other)), cudaErrorStreamCaptureUnsupported);
  cudaGraph_t graph = nullptr;
  in_another_thread([&] {
    EXPECT_EQ(cudaEventQuery(native(before)), cudaSuccess);
    EXPECT_EQ(cudaStreamEndCapture(native(stream), &graph), cudaErrorStreamCaptureWrongThread);
  });
  ASSERT_EQ(cudaStreamEndCapture(native(stream), &graph), cudaSuccess);
  EXPECT_EQ(cudaEventQuery(native(before)), cudaSuccess);
  cudaGraphDestroy(graph);
}

TEST(Capture, MayBeRelaxed) {
  Stream stream(Device::cuda);
  Event before(Device::cuda);
  ASSERT_EQ(cudaStreamBeginCapture(native(stream), cudaStreamCaptureModeRelaxed), cudaSuccess);
  EXPECT_EQ(cudaEventQuery(native(before)), cudaSuccess);
  cudaGraph_t graph = nullptr;
  in_another_thread([&] { EXPECT_EQ(cudaStreamEndCapture(native(stream), &graph), cudaSuccess); });
  cudaGraphDestroy(graph);
}

}  // namespace

}  // namespace switchyard
