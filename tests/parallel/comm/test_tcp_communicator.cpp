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
#include "tests/parallel/comm/tcp_ranks.h"

namespace switchyard {

namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::HasSubstr;

constexpr auto timeout = 20s;

class TcpCommunicator : public testing::TestWithParam<int> {};

TEST_P(TcpCommunicator, AllOperationsMatchPlainLoops) {
  run_tcp_ranks(GetParam(), timeout, [](Communicator& world) {
    check_collectives(world, 100);
    check_messages(world, 200);
    for (uint64_t seed = 300; seed < 305; ++seed) check_groups(world, seed);
    check_refusals(world);
  });
}

TEST_P(TcpCommunicator, ControlPlane) {
  run_tcp_ranks(GetParam(), timeout, [](Communicator& world) {
    check_texts(world.control());
    check_agreement(world.control());
    check_groups(world.control());
    check_two_threads(world.control(), 100);
  });
}

// What the operation ends with on this rank.
template <class F>
Error error_of(F call) {
  try {
    call();
  } catch (const Error& error) {
    return error;
  }
  return Error("nothing was thrown");
}

// With sockets alone, and out of each other's memory.
TEST(TcpRanks, LongMessages) {
  const auto body = [](Communicator& world) {
    Stream stream;
    const int n = world.size();
    const size_t count = 3'000'001;
    std::vector<float> values(count);
    for (size_t i = 0; i < count; ++i)
      values[i] = static_cast<float>(i % 1000 + static_cast<size_t>(world.rank()));
    world.all_reduce(std::span(values), ReduceOp::sum, stream, {"long"}).wait(stream);
    const auto ranks = static_cast<float>(n * (n - 1)) / 2;
    for (size_t i = 0; i < count; ++i)
      ASSERT_EQ(values[i], static_cast<float>(n) * static_cast<float>(i % 1000) + ranks) << i;
    world.broadcast(std::span(values), n - 1, stream, {"long"}).wait(stream);
    check_messages(world, 77);
  };
  for (const bool through_memory : {false, true}) run_tcp_ranks(3, timeout, body, through_memory);
}

// A long message that is wanted last holds up none behind it, and both sides may send at once.
TEST(TcpRanks, MessagesPassEachOtherInAnyOrder) {
  const auto body = [](Communicator& world) {
    Stream stream;
    const auto other = world.split(0, world.rank(), "other");
    const int peer = 1 - world.rank();
    std::vector<float> sent(1 << 20, static_cast<float>(world.rank())), got(1 << 20), small(3);
    std::vector<Handle> sends;
    sends.reserve(5);
    for (int i = 0; i < 4; ++i)
      sends.push_back(world.send(std::span(sent), peer, stream, {"long"}));
    sends.push_back(other->send(std::span(small), peer, stream, {"short"}));
    other->recv(std::span(small), peer, stream, {"short"}).wait(stream);
    other->barrier({"between"});
    for (int i = 0; i < 4; ++i) {
      world.recv(std::span(got), peer, stream, {"long"}).wait(stream);
      EXPECT_EQ(got.back(), static_cast<float>(peer));
    }
    for (Handle& handle : sends) handle.wait(stream);
  };
  for (const bool through_memory : {false, true}) run_tcp_ranks(2, timeout, body, through_memory);
}

// A message to the rank itself, with one that has come before it is wanted.
TEST(TcpRanks, MessagesToItself) {
  run_tcp_ranks(2, timeout, [](Communicator& world) {
    Stream stream;
    std::vector<float> sent{1, 2}, got(2);
    Handle send = world.send(std::span(sent), world.rank(), stream, {"self"});
    world.recv(std::span(got), world.rank(), stream, {"self"}).wait(stream);
    send.wait(stream);
    EXPECT_EQ(got, sent);
  });
}

// A message is finished while its rank computes, without any call of its own.
TEST(TcpRanks, GoOnWithoutBeingWaitedFor) {
  run_tcp_ranks(3, timeout, [](Communicator& world) {
    Stream stream;
    std::vector<float> values(1 << 20, 1.0f);
    world.barrier({"start"});
    Handle handle = world.all_reduce(std::span(values), ReduceOp::sum, stream, {"overlapped"});
    const auto volatile* last = &values.back();
    const auto deadline = std::chrono::steady_clock::now() + 10s;
    const auto sum = static_cast<float>(world.size());
    while (*last != sum && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
    EXPECT_EQ(*last, sum);
    handle.wait(stream);
    EXPECT_EQ(values.front(), sum);
    world.barrier({"end"});
  });
}

TEST(TcpRanks, MismatchNamesBothSides) {
  run_tcp_ranks(3, timeout, [](Communicator& world) {
    const auto pair = world.split(world.rank() < 2 ? 0 : -1, world.rank(), "pair");
    for (const size_t longer : {1, 50'000}) {
      if (!pair) break;
      Stream stream;
      std::vector<float> values(longer * (pair->rank() == 0 ? 10 : 12));
      const Error error = error_of([&] {
        pair->all_reduce(std::span(values), ReduceOp::sum, stream, {"losses"}).wait(stream);
      });
      EXPECT_THAT(error.what(),
                  AllOf(HasSubstr("in pair"), HasSubstr("losses"), HasSubstr("do not match"),
                        HasSubstr(pair->rank() == 0 ? "rank 1 sent" : "rank 0 sent")));
    }
    world.barrier({"end"});
  });
}

// Also of a long exchange, which goes on in the background.
TEST(TcpRanks, TheTimeoutNamesWhatIsMissing) {
  for (const size_t count : {10, 1 << 20}) {
    run_tcp_ranks(3, 1000ms, [count](Communicator& world) {
      Stream stream;
      if (world.rank() == 1) return std::this_thread::sleep_for(3s);
      std::vector<float> values(count);
      const Error error = error_of([&] {
        world.all_reduce(std::span(values), ReduceOp::sum, stream, {"losses"}).wait(stream);
      });
      EXPECT_THAT(error.what(), AllOf(HasSubstr("1000 ms (the timeout)"), HasSubstr("losses"),
                                      HasSubstr("nothing from world rank 1")));
    });
  }
}

// One that ends in order is missed by those alone that want something of it.
TEST(TcpRanks, ARankThatHasEndedIsMissedAtOnce) {
  run_tcp_ranks(3, timeout, [](Communicator& world) {
    Stream stream;
    const auto pair = world.split(world.rank() == 1 ? -1 : 0, world.rank(), "pair");
    if (!pair) return;
    std::vector<float> values(10);
    for (int i = 0; i < 20; ++i) {
      pair->all_reduce(std::span(values), ReduceOp::sum, stream, {"pair"}).wait(stream);
      std::this_thread::sleep_for(2ms);
    }
    const Error error = error_of([&] {
      world.all_reduce(std::span(values), ReduceOp::sum, stream, {"losses"}).wait(stream);
    });
    EXPECT_THAT(error.what(), AllOf(HasSubstr("world rank 1"), HasSubstr("has ended")));
    EXPECT_EQ(error.code(), ExitCode::lost_peer);
  });
}

TEST(TcpRanks, RepeatedStepsAllocateNothing) {
  run_tcp_ranks(2, timeout, [](Communicator& world) {
    Stream stream;
    std::vector<float> in(static_cast<size_t>(world.size()) * 1000), out(1000);
    const auto step = [&] {
      Handle a = world.reduce_scatter(std::span(in), std::span(out), ReduceOp::sum, stream, {"a"});
      Handle b = world.all_reduce(std::span(in), ReduceOp::max, stream, {"b"});
      a.wait(stream);
      b.wait(stream);
      world.barrier({"step"});
    };
    step();
    const int64_t before = memory_statistics().allocations;
    world.barrier({"counted"});
    for (int i = 0; i < 5; ++i) step();
    EXPECT_EQ(memory_statistics().allocations, before);
  });
}

TEST(TcpRanks, MeshOverRealRanks) {
  run_tcp_ranks(4, timeout, [](Communicator& world) {
    Mesh mesh = make_mesh({.tp = 2, .pp = 2}, world);
    EXPECT_EQ(mesh.tp->size(), 2);
    EXPECT_EQ(mesh.pp->rank(), mesh.place.pp);
    for (Communicator* group : {mesh.tp.get(), mesh.dp.get(), mesh.pp.get()})
      check_messages(*group, 5);
  });
}

INSTANTIATE_TEST_SUITE_P(Ranks, TcpCommunicator, testing::Values(2, 3, 5));

}  // namespace

}  // namespace switchyard
