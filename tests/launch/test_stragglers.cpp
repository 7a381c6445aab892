#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <thread>

#include "launch/stragglers.h"
#include "parallel/comm/communicators.h"

namespace switchyard {
namespace {

using testing::HasSubstr;

TEST(Stragglers, are_the_ranks_that_others_wait_for) {
  const std::array<RankTimes, 4> ranks = {
      {{10, 4, 0.01}, {10, 0.2, 1.5}, {10, 4.2, 0}, {10, 3.8, 0}}};
  std::vector<RankPlace> places(4);
  for (size_t i = 0; i < 4; ++i) places[i].host = i < 2 ? "n1" : "n2";
  EXPECT_EQ(
      describe_stragglers(101, 200, ranks, places),
      "stragglers of steps 101 to 200, 100.0 ms each: others wait for rank 1 on n1 (busy 98.0 "
      "ms, waits 2%, reads 15%); median rank busy 60.0 ms, waits 40%");
  const std::array<RankTimes, 2> even = {{{1, 0.1, 0}, {1, 0.12, 0}}};
  EXPECT_THAT(describe_stragglers(1, 10, even, {}), HasSubstr("100.0 ms each: none; median rank"));
}

// Three steps in which one rank computes for 40 ms and the others wait for its sum.
TEST(Stragglers, are_found_by_the_time_that_others_wait) {
  testing::internal::CaptureStderr();
  run_thread_ranks(3, {}, [](Communicator& world) {
    const Mesh mesh = make_mesh({.dp = 3}, world);
    StragglerWatch watch(3, mesh, Device::cpu);
    for (int64_t step = 1; step <= 5; ++step) {
      const auto begin = std::chrono::steady_clock::now();
      watch.begin_step();
      if (world.rank() == 1) std::this_thread::sleep_for(std::chrono::milliseconds(40));
      double sum = 1;
      Stream stream;
      world.all_reduce(std::span<double>(&sum, 1), ReduceOp::sum, stream, {"sum"}).wait(stream);
      watch.end_step();
      const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - begin;
      watch.finish_step(step, passed.count());
    }
  });
  const std::string logged = testing::internal::GetCapturedStderr();
  EXPECT_THAT(logged, HasSubstr("stragglers of steps 1 to 3, "));
  EXPECT_THAT(logged, HasSubstr("others wait for rank 1"));
  EXPECT_THAT(logged, Not(HasSubstr("rank 0 (")));
  EXPECT_THAT(logged, Not(HasSubstr("steps 4")));
}

TEST(Stragglers, unwatched_waits_are_not_timed) {
  EXPECT_EQ(WaitClock::active(), nullptr);
  WaitClock waits(Device::cpu);
  waits.begin();
  EXPECT_EQ(WaitClock::active(), &waits);
  waits.end();
  EXPECT_EQ(WaitClock::active(), nullptr);
  EXPECT_EQ(waits.take(), 0);
}

}  // namespace
}  // namespace switchyard
