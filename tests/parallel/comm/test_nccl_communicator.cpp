#include <cuda_runtime_api.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cstring>
#include <vector>

#include "core/error.h"
#include "core/memory.h"
#include "launch/engine/world.h"
#include "parallel/mesh.h"
#include "tests/parallel/comm/collective_cases.h"
#include "tests/parallel/comm/control_cases.h"
#include "tools/commands.h"

// Ranks over NCCL: started by mpirun, or by this program itself when its first word is launch.
namespace switchyard {

namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::HasSubstr;

constexpr CollectiveCases on_gpu{.device = Device::cuda, .in_order_of_ranks = false};
constexpr CollectiveCases on_host{.device = Device::cpu, .in_order_of_ranks = false};

std::unique_ptr<World>& world_of_process() {
  static std::unique_ptr<World> world;
  return world;
}

Communicator& world() { return world_of_process()->communicator(); }

class NcclCommunicator : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    world_of_process() =
        std::make_unique<World>(WorldOptions{.timeout = 60s, .device = Device::cuda});
    ASSERT_GT(world().size(), 1);
  }
  static void TearDownTestSuite() {
    world().barrier({"end"});
    world_of_process().reset();
  }
};

TEST_F(NcclCommunicator, AllOperationsOnTheGpu) {
  check_collectives(world(), 100, on_gpu);
  check_messages(world(), 200, on_gpu);
  for (uint64_t seed = 300; seed < 303; ++seed) check_groups(world(), seed, on_gpu);
}

TEST_F(NcclCommunicator, AllOperationsOnHostMemory) {
  check_messages(world(), 200, on_host);
  check_groups(world(), 300, on_host);
  Stream stream;
  std::vector<int64_t> values(3, world().rank());
  world().all_reduce(std::span(values), ReduceOp::max, stream, {"largest"}).wait(stream);
  EXPECT_EQ(values, std::vector<int64_t>(3, world().size() - 1));
  check_refusals(world());
}

Buffer floats(const Memory& memory) {
  Buffer buffer(std::span<float>(static_cast<float*>(memory.data()),
                                 static_cast<size_t>(memory.bytes()) / sizeof(float)));
  buffer.device = Device::cuda;
  return buffer;
}

TEST_F(NcclCommunicator, LongBuffersGoInManyPieces) {
  Stream stream(Device::cuda);
  const int64_t count = 300'001;
  std::vector<float> values(count, static_cast<float>(world().rank() + 1));
  const Memory memory(count * 4, Device::cuda, "long");
  copy_bytes(memory.data(), values.data(), count * 4, stream);
  world().all_reduce(floats(memory), ReduceOp::sum, stream, {"long"}).wait(stream);
  copy_bytes(values.data(), memory.data(), count * 4, stream);
  stream.synchronize();
  const auto n = static_cast<float>(world().size());
  EXPECT_EQ(values, std::vector<float>(count, n * (n + 1) / 2));
}

// A rank's stream is the only order between its work and the exchange.
TEST_F(NcclCommunicator, AnOperationFollowsItsStreamAndOthersFollowTheWait) {
  Stream before(Device::cuda), after(Device::cuda);
  const Memory value(4, Device::cuda, "value"), copy(4, Device::cuda, "copy");
  const float mine = static_cast<float>(world().rank() + 1);
  copy_bytes(value.data(), &mine, sizeof mine, before);
  world().all_reduce(floats(value), ReduceOp::max, before, {"largest"}).wait(after);
  copy_bytes(copy.data(), value.data(), 4, after);
  float got = 0;
  copy_bytes(&got, copy.data(), sizeof got, after);
  after.synchronize();
  EXPECT_EQ(got, static_cast<float>(world().size()));
  before.synchronize();
}

// Each rank posts its receive first and sends then: without channels nobody would come to send. A
// second receive waits on the GPU behind the first, and whatever comes after it with that.
TEST_F(NcclCommunicator, ChannelsLetReceivesBePostedAhead) {
  const int n = world().size(), r = world().rank();
  std::vector<std::pair<int, int>> ring;
  for (int i = 0; i < n; ++i) {
    ring.emplace_back(i, (i + 1) % n);
    ring.emplace_back((i + 1) % n, i);
  }
  const auto group = world().split(0, r, "ring");
  group->open_channels(ring);
  Stream stream(Device::cuda);
  constexpr int64_t bytes = 1 << 20;
  std::vector<Memory> got, sent;
  std::vector<Handle> handles;
  for (int m = 0; m < 4; ++m) {
    got.emplace_back(bytes, Device::cuda, "got");
    sent.emplace_back(bytes, Device::cuda, "sent");
    const auto value = static_cast<float>(r * 10 + m);
    copy_bytes(sent.back().data(), &value, sizeof value, stream);
  }
  for (size_t m = 0; m < 4; ++m) {  // two go up, two go down
    const int below = (r + n - 1) % n, above = (r + 1) % n;
    handles.push_back(group->recv(floats(got[m]), m < 2 ? below : above, stream, {"ahead"}));
    handles.push_back(group->send(floats(sent[m]), m < 2 ? above : below, stream, {"ahead"}));
  }
  for (Handle& handle : handles) handle.wait(stream);
  for (size_t m = 0; m < 4; ++m) {
    const int from = m < 2 ? (r + n - 1) % n : (r + 1) % n;
    float value = 0;
    copy_bytes(&value, got[m].data(), sizeof value, stream);
    stream.synchronize();
    EXPECT_EQ(value, static_cast<float>(from * 10 + static_cast<int>(m)));
  }
}

TEST_F(NcclCommunicator, RepeatedStepsAllocateNothing) {
  Stream stream(Device::cuda), host;
  const Memory whole(world().size() * 4000, Device::cuda, "whole"),
      part(4000, Device::cuda, "part");
  std::vector<double> loss(2);
  const auto step = [&] {
    Handle a = world().reduce_scatter(floats(whole), floats(part), ReduceOp::sum, stream, {"a"});
    Handle b = world().all_gather(floats(part), floats(whole), stream, {"b"});
    a.wait(stream);
    b.wait(stream);
    world().all_reduce(std::span(loss), ReduceOp::sum, host, {"loss"}).wait(host);
    stream.synchronize();
    world().barrier({"step"});
  };
  for (int i = 0; i < 2; ++i) step();
  const int64_t before = memory_statistics().allocations;
  for (int i = 0; i < 5; ++i) step();
  EXPECT_EQ(memory_statistics().allocations, before);
}

// A captured step: the exchange is queued anew with every launch, and never watched.
TEST_F(NcclCommunicator, OperationsAreCapturedIntoAGraph) {
  Stream stream(Device::cuda);
  const Memory memory(4, Device::cuda, "value");
  const auto native = static_cast<cudaStream_t>(stream.native());
  const float one = 1.0f;
  copy_bytes(memory.data(), &one, sizeof one, stream);
  ASSERT_EQ(cudaStreamBeginCapture(native, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  world().all_reduce(floats(memory), ReduceOp::sum, stream, {"captured"}).wait(stream);
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  ASSERT_EQ(cudaStreamEndCapture(native, &graph), cudaSuccess);
  ASSERT_EQ(cudaGraphInstantiate(&executable, graph, 0), cudaSuccess);
  float expected = 1.0f;
  for (int launch = 0; launch < 3; ++launch) {
    ASSERT_EQ(cudaGraphLaunch(executable, native), cudaSuccess);
    expected *= static_cast<float>(world().size());
  }
  float sum = 0;
  copy_bytes(&sum, memory.data(), sizeof sum, stream);
  stream.synchronize();
  EXPECT_EQ(sum, expected);
  world().all_reduce(floats(memory), ReduceOp::max, stream, {"as before"}).wait(stream);
  stream.synchronize();
  cudaGraphExecDestroy(executable);
  cudaGraphDestroy(graph);
}

TEST_F(NcclCommunicator, RefusesWhatNcclDoesNotKnow) {
  Stream stream(Device::cuda);
  const Memory memory(64, Device::cuda, "values");
  Buffer buffer = floats(memory);
  buffer.dtype = DType::u16;
  try {
    world().all_reduce(buffer, ReduceOp::sum, stream, {"bits"});
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("u16"), HasSubstr("bits"), HasSubstr("all_reduce")));
  }
  world().group_begin();
  Handle handle = world().all_reduce(floats(memory), ReduceOp::sum, stream, {"grouped"});
  Handle early = handle;
  EXPECT_THROW(early.wait(stream), Error);
  world().group_end();
  handle.wait(stream);
  stream.synchronize();
}

TEST_F(NcclCommunicator, ControlPlane) {
  ControlPlane& control = world().control();
  check_texts(control);
  check_agreement(control);
  check_two_threads(control, 100);
}

TEST_F(NcclCommunicator, MeshOverRealRanks) {
  const int n = world().size();
  const Layout layout = n == 4 ? Layout{.tp = 2, .pp = 2} : Layout{.dp = n};
  Mesh mesh = make_mesh(layout, world());
  EXPECT_EQ(mesh.tp->size(), layout.tp);
  EXPECT_EQ(mesh.pp->rank(), mesh.place.pp);
  EXPECT_EQ(mesh.embedding->size(), layout.pp);
  for (Communicator* group : {mesh.tp.get(), mesh.dp.get(), mesh.pp.get()})
    check_messages(*group, 5, on_gpu);
}

}  // namespace

}  // namespace switchyard

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (!words.empty() && words[0] == "launch")
    return switchyard::launch_command(switchyard::Arguments(words).subspan(1));
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
