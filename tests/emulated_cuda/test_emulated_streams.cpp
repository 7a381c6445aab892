// What streams, events and graphs of the emulation must run, and in which order.
#include <atomic>
#include <thread>

#include "tests/emulated_cuda/emulation_test.h"
#include "tests/emulated_cuda/machine.h"

namespace switchyard::cuda::emulation {
namespace {

TEST_F(Emulation, WorkRunsLateAndInTheOrderOfItsStream) {
  Memory pinned = Memory::pinned(4, "flag");
  auto* flag = static_cast<float*>(pinned.data());
  fill(stream, at(), 1.0f);
  fill(stream, at(), 2.0f);
  copy_bytes(flag, at(), 4, stream);
  EXPECT_EQ(*flag, 0.0f);
  stream.synchronize();
  EXPECT_EQ(*flag, 2.0f);
}

TEST_F(Emulation, AMissingWaitBetweenStreamsShows) {
  for (const bool waits : {true, false}) {
    fill(stream, at(), 1.0f);
    stream.synchronize();
    fill(stream, at(), 2.0f);
    Event event(Device::cuda);
    event.record(stream);
    if (waits) event.wait(other);
    EXPECT_EQ(read(other, 1)[0], waits ? 2.0f : 1.0f);
  }
}

TEST_F(Emulation, WaitsFollowChainsOfStreams) {
  Stream third(Device::cuda);
  Event first(Device::cuda), second(Device::cuda);
  fill(stream, at(), 5.0f);
  first.record(stream);
  first.wait(other);
  launch("add", add, {1, 1, 1, 32, 0}, other, at(), 1.0f, floats);
  second.record(other);
  first.record(stream);  // the wait above keeps the earlier record
  second.wait(third);
  EXPECT_FALSE(second.is_reached());
  EXPECT_EQ(read(third, 1)[0], 6.0f);
  EXPECT_TRUE(second.is_reached());
}

TEST_F(Emulation, PollingAnEventEndsSometime) {
  Event event(Device::cuda);
  EXPECT_TRUE(event.is_reached());
  for (int i = 0; i < 5; ++i) fill(stream, at(), static_cast<float>(i));
  event.record(stream);
  int polls = 0;
  while (!event.is_reached()) ++polls;
  EXPECT_EQ(polls, 5);
}

TEST_F(Emulation, PinnedMemoryIsReadLateAndPageableMemoryAtOnce) {
  Memory pinned = Memory::pinned(4, "pinned");
  auto* late = static_cast<float*>(pinned.data());
  float early = 1.0f;
  *late = 1.0f;
  copy_bytes(at(0), &early, 4, stream);
  copy_bytes(at(1), late, 4, stream);
  early = *late = 2.0f;
  EXPECT_EQ(read(stream, 2), (std::vector<float>{1.0f, 2.0f}));
}

TEST_F(Emulation, TheDefaultStreamWaitsForBlockingStreamsAlone) {
  cudaStream_t blocking = nullptr;
  ASSERT_EQ(cudaStreamCreate(&blocking), cudaSuccess);
  float value = 0;
  ASSERT_EQ(cudaMemsetAsync(at(), 0, 4, blocking), cudaSuccess);
  fill(stream, at(1), 7.0f, 1);
  ASSERT_EQ(cudaMemcpy(&value, at(), 4, cudaMemcpyDefault), cudaSuccess);
  EXPECT_EQ(value, 0.0f);
  ASSERT_EQ(cudaMemcpy(&value, at(1), 4, cudaMemcpyDefault), cudaSuccess);
  EXPECT_EQ(value, 0.0f);  // not yet filled
  ASSERT_EQ(cudaStreamDestroy(blocking), cudaSuccess);
}

TEST_F(Emulation, GraphsReplayWhatWasCaptured) {
  Memory pinned = Memory::pinned(8, "input and result");
  auto* numbers = static_cast<float*>(pinned.data());
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  Event forked(Device::cuda), joined(Device::cuda);
  ASSERT_EQ(cudaStreamBeginCapture(native(stream), cudaStreamCaptureModeGlobal), cudaSuccess);
  copy_bytes(at(), numbers, 4, stream);
  forked.record(stream);
  forked.wait(other);
  launch("add", add, {1, 1, 1, 32, 0}, other, at(), 1.0f, floats);
  joined.record(other);
  joined.wait(stream);
  copy_bytes(numbers + 1, at(), 4, stream);
  EXPECT_THROW(stream.synchronize(), Error);
  ASSERT_EQ(cudaStreamEndCapture(native(stream), &graph), cudaSuccess);
  ASSERT_EQ(cudaGraphInstantiate(&executable, graph, 0), cudaSuccess);
  ASSERT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  for (const float value : {3.0f, 4.0f}) {
    numbers[0] = value;
    ASSERT_EQ(cudaGraphLaunch(executable, native(other)), cudaSuccess);
    EXPECT_NE(numbers[1], value + 1.0f);
    other.synchronize();
    EXPECT_EQ(numbers[1], value + 1.0f);
  }
  ASSERT_EQ(cudaGraphExecDestroy(executable), cudaSuccess);
}

TEST_F(Emulation, CapturesMustBeJoinedAndAlone) {
  cudaGraph_t graph = nullptr;
  Event forked(Device::cuda), outside(Device::cuda);
  outside.record(other);
  other.synchronize();
  ASSERT_EQ(cudaStreamBeginCapture(native(stream), cudaStreamCaptureModeGlobal), cudaSuccess);
  EXPECT_EQ(cudaStreamWaitEvent(native(stream), native(outside), 0),
            cudaErrorStreamCaptureIsolation);
  forked.record(stream);
  forked.wait(other);
  launch("add", add, {1, 1, 1, 32, 0}, other, at(), 1.0f, floats);
  EXPECT_EQ(cudaStreamEndCapture(native(other), &graph), cudaErrorStreamCaptureUnmatched);
  EXPECT_EQ(cudaStreamEndCapture(native(stream), &graph), cudaErrorStreamCaptureUnjoined);
  EXPECT_EQ(cudaStreamWaitEvent(native(stream), native(forked), 0), cudaErrorCapturedEvent);
  void* memory = nullptr;
  EXPECT_EQ(cudaMalloc(&memory, 16), cudaSuccess);
  EXPECT_EQ(cudaFree(memory), cudaSuccess);
}

// Work that waits for another host thread's, as collectives do.
TEST_F(Emulation, StreamsOfThreadsWaitForOneAnother) {
  std::atomic<int> arrived{0};
  auto rank = [&] {
    Stream own(Device::cuda);
    bool counted = false;
    emulated::Machine& machine = emulated::Machine::get();
    {
      const emulated::Lock lock = emulated::lock_machine();
      machine.enqueue(*machine.find(native(own)), [&arrived, counted]() mutable {
        if (!counted) ++arrived;
        counted = true;
        return arrived == 2;
      });
    }
    own.synchronize();
  };
  std::thread one(rank), two(rank);
  one.join();
  two.join();
  EXPECT_EQ(arrived, 2);
}

}  // namespace
}  // namespace switchyard::cuda::emulation
