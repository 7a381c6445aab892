#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "core/error.h"
#include "core/memory.h"
#include "parallel/comm/communicators.h"
#include "parallel/comm/device_reduction.h"
#include "parallel/comm/host_reduction.h"
#include "tests/parallel/comm/collective_cases.h"

// Ranks that are threads, and a world of one, with buffers on a GPU.
namespace switchyard {

namespace {

using testing::HasSubstr;

constexpr CollectiveCases on_gpu{.device = Device::cuda};

TEST(Gpu, IsThere) { ASSERT_GT(gpu_count(), 0); }

class ThreadRanksOnGpu : public testing::TestWithParam<std::tuple<int, bool>> {};

TEST_P(ThreadRanksOnGpu, AllOperationsMatchPlainLoops) {
  const auto [ranks, poison] = GetParam();
  run_thread_ranks(ranks, {.delay_and_poison = poison, .seed = 7}, [](Communicator& world) {
    check_collectives(world, 100, on_gpu);
    check_messages(world, 200, on_gpu);
    for (uint64_t seed = 300; seed < 303; ++seed) check_groups(world, seed, on_gpu);
    check_refusals(world);
  });
}

INSTANTIATE_TEST_SUITE_P(Worlds, ThreadRanksOnGpu,
                         testing::Combine(testing::Values(1, 2, 3, 5), testing::Bool()));

TEST(SelfCommunicatorOnGpu, IsAWorldOfOne) {
  const auto self = make_self_communicator();
  check_collectives(*self, 1, on_gpu);
  check_messages(*self, 2, on_gpu);
  check_groups(*self, 3, on_gpu);
}

float read(const Memory& memory, Stream& stream) {
  float value = 0;
  copy_bytes(&value, memory.data(), sizeof value, stream);
  stream.synchronize();
  return value;
}

void write(const Memory& memory, float value, Stream& stream) {
  copy_bytes(memory.data(), &value, sizeof value, stream);
}

Buffer one_float(const Memory& memory) {
  Buffer buffer(std::span<float>(static_cast<float*>(memory.data()), 1));
  buffer.device = Device::cuda;
  return buffer;
}

// A rank's stream is the only order between its work and the exchange.
TEST(ThreadRanksOnGpuStreams, AnOperationFollowsItsStreamAndOthersFollowTheWait) {
  for (const bool poison : {false, true}) {
    run_thread_ranks(2, {.delay_and_poison = poison}, [](Communicator& world) {
      Stream before(Device::cuda), after(Device::cuda);
      const Memory value(4, Device::cuda, "value"), copy(4, Device::cuda, "copy");
      write(value, static_cast<float>(world.rank() + 1), before);
      world.all_reduce(one_float(value), ReduceOp::sum, before, {"sum"}).wait(after);
      copy_bytes(copy.data(), value.data(), 4, after);
      EXPECT_EQ(read(copy, after), 3.0f);
      world.barrier({"end"});
    });
  }
}

TEST(DelayAndPoisonOnGpu, ShowsAMissingWait) {
  run_thread_ranks(2, {.delay_and_poison = true}, [](Communicator& world) {
    Stream stream(Device::cuda);
    const Memory value(4, Device::cuda, "value");
    write(value, 1.0f, stream);
    Handle sum = world.all_reduce(one_float(value), ReduceOp::sum, stream, {"sum"});
    EXPECT_TRUE(std::isnan(read(value, stream)));
    sum.wait(stream);
    EXPECT_EQ(read(value, stream), 2.0f);
    world.barrier({"end"});
  });
}

TEST(DelayAndPoisonOnGpu, ReadsSendBuffersLate) {
  run_thread_ranks(2, {.delay_and_poison = true}, [](Communicator& world) {
    Stream stream(Device::cuda);
    const Memory value(4, Device::cuda, "value");
    write(value, 1.0f, stream);
    const bool sender = world.rank() == 0;
    Handle moved = sender ? world.send(one_float(value), 1, stream, {"x"})
                          : world.recv(one_float(value), 0, stream, {"x"});
    if (sender) write(value, 5.0f, stream);  // too early: it was not waited for
    stream.synchronize();
    world.barrier({"both posted"});
    moved.wait(stream);
    EXPECT_EQ(read(value, stream), 5.0f);
  });
}

TEST(ThreadRanksOnGpuStreams, BuffersOfTwoDevicesDoNotMatch) {
  const auto body = [](Communicator& world) {
    Stream stream(Device::cuda);
    const Memory memory(4, Device::cuda, "value");
    std::vector<float> value(1);
    const Buffer buffer = world.rank() == 0 ? one_float(memory) : Buffer(std::span(value));
    world.all_reduce(buffer, ReduceOp::sum, stream, {"mixed"}).wait(stream);
  };
  try {
    run_thread_ranks(2, {}, body);
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("does not match"));
  }
}

TEST(ThreadRanksOnGpuStreams, RepeatedStepsAllocateNothing) {
  run_thread_ranks(3, {}, [](Communicator& world) {
    Stream stream(Device::cuda);
    const Memory in(3 * 400, Device::cuda, "in"), out(400, Device::cuda, "out");
    Buffer whole = one_float(in), part = one_float(out);
    whole.count = 300;
    part.count = 100;
    const auto step = [&] {
      Handle a = world.reduce_scatter(whole, part, ReduceOp::sum, stream, {"a"});
      Handle b = world.all_gather(part, whole, stream, {"b"});
      a.wait(stream);
      b.wait(stream);
      stream.synchronize();
      world.barrier({"step"});
    };
    for (int i = 0; i < 3; ++i) step();
    const int64_t before = memory_statistics().allocations;
    world.barrier({"counted"});
    for (int i = 0; i < 5; ++i) step();
    EXPECT_EQ(memory_statistics().allocations, before);
    world.barrier({"end"});
  });
}

// Every tail and alignment of a sum, against the host's bits; maxima with NaN included.
TEST(DeviceReduction, HasTheHostsBits) {
  Stream stream(Device::cuda);
  constexpr int64_t most = 1003;
  std::vector<std::vector<float>> values(4, std::vector<float>(most));
  for (size_t r = 0; r < values.size(); ++r)
    for (size_t i = 0; i < most; ++i)
      values[r][i] = i % 97 == r ? NAN : std::sin(static_cast<float>(i * (r + 3))) * 1e3f;
  std::vector<Memory> on_device;
  for (const auto& part : values) {
    on_device.emplace_back(most * 4, Device::cuda, "part");
    copy_bytes(on_device.back().data(), part.data(), most * 4, stream);
  }
  const Memory out(most * 4, Device::cuda, "sum");
  for (const int64_t count : {1, 3, 4, 256, 999, 1003}) {
    for (const int64_t skip : {0, 1, 4}) {
      if (skip + count > most) continue;
      for (const ReduceOp op : {ReduceOp::sum, ReduceOp::max}) {
        std::vector<const void*> host, device;
        for (size_t r = 0; r < values.size(); ++r) {
          host.push_back(values[r].data() + skip);
          device.push_back(static_cast<const float*>(on_device[r].data()) + skip);
        }
        std::vector<float> wanted(static_cast<size_t>(count)), got(wanted.size());
        reduce_on_host(host, wanted.data(), count, DType::f32, op);
        auto* to = static_cast<float*>(out.data()) + skip;
        reduce_on_device(device, to, count, DType::f32, op, stream);
        copy_bytes(got.data(), to, count * 4, stream);
        stream.synchronize();
        EXPECT_EQ(std::memcmp(got.data(), wanted.data(), got.size() * 4), 0)
            << count << " " << skip;
      }
    }
  }
}

}  // namespace

}  // namespace switchyard
