#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <thread>
#include <vector>

#include "core/error.h"
#include "parallel/comm/communicators.h"
#include "tests/parallel/comm/collective_cases.h"

namespace switchyard {

namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::HasSubstr;

std::string error_of(int ranks, const ThreadRanksOptions& options,
                     const std::function<void(Communicator&)>& body) {
  try {
    run_thread_ranks(ranks, options, body);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

class ThreadRanks : public testing::TestWithParam<std::tuple<int, bool>> {};

TEST_P(ThreadRanks, AllOperationsMatchPlainLoops) {
  const auto [ranks, poison] = GetParam();
  const ThreadRanksOptions options{.delay_and_poison = poison, .seed = 7};
  run_thread_ranks(ranks, options, [](Communicator& world) {
    check_collectives(world, 100);
    check_messages(world, 200);
    for (uint64_t seed = 300; seed < 305; ++seed) check_groups(world, seed);
    check_refusals(world);
  });
}

INSTANTIATE_TEST_SUITE_P(Worlds, ThreadRanks,
                         testing::Combine(testing::Values(1, 2, 3, 4, 5, 8), testing::Bool()));

TEST(SelfCommunicator, IsAWorldOfOne) {
  const auto self = make_self_communicator();
  EXPECT_EQ(self->size(), 1);
  EXPECT_EQ(self->name(), "world");
  check_collectives(*self, 1);
  check_messages(*self, 2);
  check_groups(*self, 3);
  check_refusals(*self);
}

TEST(SelfCommunicator, ReceivesWhatItSentBefore) {
  const auto self = make_self_communicator();
  Stream stream;
  std::vector<int32_t> a{1, 2}, b{3}, x(2), y(1);
  self->send(std::span(a), 0, stream, {"first"}).wait(stream);
  self->send(std::span(b), 0, stream, {"second"}).wait(stream);
  a = {0, 0};
  self->recv(std::span(x), 0, stream, {"first"}).wait(stream);
  self->recv(std::span(y), 0, stream, {"second"}).wait(stream);
  EXPECT_EQ(x, (std::vector<int32_t>{1, 2}));
  EXPECT_EQ(y, (std::vector<int32_t>{3}));
  Handle none = self->recv(std::span(x), 0, stream, {"third"});
  EXPECT_THROW(none.wait(stream), Error);
}

TEST(ThreadCommunicator, NamesBothSidesOfAMismatch) {
  Stream stream;
  const auto all_reduce = [&](Communicator& world, size_t count) {
    std::vector<float> values(count);
    world.all_reduce(std::span(values), ReduceOp::sum, stream, {"losses"}).wait(stream);
  };
  EXPECT_THAT(error_of(3, {}, [&](Communicator& w) { all_reduce(w, w.rank() == 1 ? 4 : 5); }),
              AllOf(HasSubstr("of 4 f32"), HasSubstr("of 5 f32"), HasSubstr("does not match"),
                    HasSubstr("rank 1 of 3 in world"), HasSubstr("losses")));
  const auto other_call = [&](Communicator& world) {
    if (world.rank() == 0) return all_reduce(world, 2);
    std::vector<float> values(2);
    world.broadcast(std::span(values), 0, stream, {"weights"}).wait(stream);
  };
  EXPECT_THAT(error_of(2, {}, other_call), AllOf(HasSubstr("all_reduce"), HasSubstr("broadcast")));
  const auto other_type = [&](Communicator& world) {
    std::vector<float> f(2);
    std::vector<int32_t> i(2);
    if (world.rank() == 0)
      world.send(std::span(f), 1, stream, {"there"}).wait(stream);
    else
      world.recv(std::span(i), 0, stream, {"there"}).wait(stream);
  };
  EXPECT_THAT(error_of(2, {}, other_type), AllOf(HasSubstr("2 f32"), HasSubstr("2 i32")));
}

TEST(ThreadCommunicator, TimeoutSaysWhoWaitsForWhom) {
  std::atomic<bool> over = false;
  const auto body = [&](Communicator& world) {
    set_current_step(42);
    Stream stream;
    std::vector<float> values(3);
    if (world.rank() == 1) {
      while (!over) std::this_thread::sleep_for(1ms);
      return;
    }
    try {
      world.all_reduce(std::span(values), ReduceOp::sum, stream, {"gradients"}).wait(stream);
    } catch (...) {
      over = true;
      throw;
    }
  };
  EXPECT_THAT(
      error_of(2, {.timeout = 50ms}, body),
      AllOf(HasSubstr("rank 0 of 2 in world"), HasSubstr("all_reduce"), HasSubstr("gradients"),
            HasSubstr("step 42"), HasSubstr("50 ms"), HasSubstr("nothing from world rank 1")));
}

TEST(ThreadCommunicator, AFailingRankEndsTheOthers) {
  const auto start = std::chrono::steady_clock::now();
  const auto body = [&](Communicator& world) {
    if (world.rank() == 2) fail("test", "disk full");
    world.barrier({"never"});
  };
  EXPECT_THAT(error_of(4, {}, body), HasSubstr("disk full"));
  EXPECT_THAT(error_of(2, {},
                       [](Communicator& w) {
                         if (w.rank() == 0) w.barrier({"alone"});
                       }),
              HasSubstr("world rank 1 has ended"));
  EXPECT_LT(std::chrono::steady_clock::now() - start, 2s);
}

TEST(DelayAndPoison, ShowsAMissingWait) {
  run_thread_ranks(3, {.delay_and_poison = true}, [](Communicator& world) {
    Stream stream;
    std::vector<float> reduced(4, 1.0f), part(4, 2.0f), all(12);
    Handle a = world.all_reduce(std::span(reduced), ReduceOp::sum, stream, {"a"});
    Handle b = world.all_gather(std::span(part), std::span(all), stream, {"b"});
    EXPECT_TRUE(std::isnan(reduced[0]));
    EXPECT_TRUE(std::isnan(all[0]) && std::isnan(all[11]));
    b.wait(stream);
    EXPECT_TRUE(std::isnan(reduced[0]));
    a.wait(stream);
    EXPECT_EQ(reduced[0], 3.0f);
    EXPECT_EQ(all[11], 2.0f);
    world.barrier({"end"});
  });
}

TEST(DelayAndPoison, ReadsSendBuffersLate) {
  run_thread_ranks(2, {.delay_and_poison = true}, [](Communicator& world) {
    Stream stream;
    std::vector<float> values(1, 1.0f);
    const bool sender = world.rank() == 0;
    Handle moved = sender ? world.send(std::span(values), 1, stream, {"x"})
                          : world.recv(std::span(values), 0, stream, {"x"});
    if (sender) values[0] = 5.0f;  // too early: it was not waited for
    world.barrier({"both posted"});
    moved.wait(stream);
    EXPECT_EQ(values[0], 5.0f);
  });
}

TEST(DelayAndPoison, RefusesADroppedHandle) {
  EXPECT_THAT(error_of(2, {.delay_and_poison = true},
                       [](Communicator& world) {
                         Stream stream;
                         std::vector<float> mine(4);
                         world.all_reduce(std::span(mine), ReduceOp::sum, stream, {"lost"});
                       }),
              AllOf(HasSubstr("lost"), HasSubstr("without a wait")));
}

}  // namespace

}  // namespace switchyard
