#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <thread>
#include <vector>

#include "core/error.h"
#include "core/memory.h"
#include "parallel/comm/communicators.h"
#include "parallel/mesh.h"
#include "tests/parallel/comm/collective_cases.h"
#include "tests/parallel/comm/control_cases.h"

namespace switchyard {

namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::HasSubstr;

constexpr auto timeout = 20s;

// One for all tests of this process; must be started under mpirun.
Communicator& world() {
  static MpiEnvironment environment(nullptr, nullptr, timeout);
  return environment.world();
}

TEST(MpiCommunicator, WasLaunched) {
  ASSERT_TRUE(MpiEnvironment::launched()) << "start this test under tests/support/mpirun";
  EXPECT_GT(world().size(), 1);
}

TEST(MpiCommunicator, AllOperationsMatchPlainLoops) {
  check_collectives(world(), 100);
  check_messages(world(), 200);
  for (uint64_t seed = 300; seed < 305; ++seed) check_groups(world(), seed);
  check_refusals(world());
}

TEST(MpiCommunicator, MovesLongBuffersInPieces) {
  Stream stream;
  const int n = world().size();
  const size_t count = 3'000'001;
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i)
    values[i] = static_cast<float>(i % 1000 + static_cast<size_t>(world().rank()));
  world().all_reduce(std::span(values), ReduceOp::sum, stream, {"long"}).wait(stream);
  const auto ranks = static_cast<float>(n * (n - 1) / 2);
  for (size_t i = 0; i < count; ++i)
    ASSERT_EQ(values[i], static_cast<float>(n) * static_cast<float>(i % 1000) + ranks) << i;
  world().broadcast(std::span(values), n - 1, stream, {"long"}).wait(stream);
  check_messages(world(), 77);
}

// A message is finished while its rank computes, without any call of its own.
TEST(MpiCommunicator, GoesOnWithoutBeingWaitedFor) {
  Stream stream;
  std::vector<float> values(1 << 20, 1.0f);
  world().barrier({"start"});
  Handle handle = world().all_reduce(std::span(values), ReduceOp::sum, stream, {"overlapped"});
  const auto volatile* last = &values.back();
  const auto deadline = std::chrono::steady_clock::now() + 10s;
  const auto sum = static_cast<float>(world().size());
  while (*last != sum && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  EXPECT_EQ(*last, sum);
  handle.wait(stream);
  EXPECT_EQ(values.front(), sum);
  world().barrier({"end"});
}

TEST(MpiCommunicator, RepeatedStepsAllocateNothing) {
  Stream stream;
  std::vector<float> in(static_cast<size_t>(world().size()) * 1000), out(1000);
  const auto step = [&] {
    Handle a = world().reduce_scatter(std::span(in), std::span(out), ReduceOp::sum, stream, {"a"});
    Handle b = world().all_reduce(std::span(in), ReduceOp::max, stream, {"b"});
    a.wait(stream);
    b.wait(stream);
  };
  step();
  const int64_t before = memory_statistics().allocations;
  for (int i = 0; i < 5; ++i) step();
  EXPECT_EQ(memory_statistics().allocations, before);
}

TEST(MpiCommunicator, MismatchNamesBothSides) {
  Stream stream;
  const auto pair = world().split(world().rank() < 2 ? 0 : -1, world().rank(), "pair");
  if (pair) {
    std::vector<float> values(pair->rank() == 0 ? 10 : 12);
    const auto reduce = [&] {
      pair->all_reduce(std::span(values), ReduceOp::sum, stream, {"losses"}).wait(stream);
    };
    try {
      reduce();
      ADD_FAILURE() << "nothing was thrown";
    } catch (const Error& error) {
      EXPECT_THAT(error.what(),
                  AllOf(HasSubstr("in pair"), HasSubstr("losses"),
                        HasSubstr(pair->rank() == 0 ? "rank 1 sent" : "rank 0 sent 40 bytes")));
    }
  }
  world().barrier({"end"});
}

TEST(MpiCommunicator, ControlPlane) {
  ControlPlane& control = world().control();
  check_texts(control);
  check_agreement(control);
  check_groups(control);
  check_two_threads(control, 100);
}

TEST(MpiCommunicator, MeshOverRealRanks) {
  const int n = world().size();
  const Layout layout = n == 4 ? Layout{.tp = 2, .pp = 2} : Layout{.dp = n};
  Mesh mesh = make_mesh(layout, world());
  EXPECT_EQ(mesh.tp->size(), layout.tp);
  EXPECT_EQ(mesh.pp->rank(), mesh.place.pp);
  EXPECT_EQ(mesh.embedding->size(), layout.pp);
  for (Communicator* group : {mesh.tp.get(), mesh.dp.get(), mesh.pp.get()})
    check_messages(*group, 5);
}

}  // namespace

}  // namespace switchyard
