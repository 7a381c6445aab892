// What a step waits for exchanges is timed on every device, with a step queued ahead.
#include "parallel/comm/wait_clock.h"

#include <gtest/gtest.h>
#include <omp.h>

#include "tests/launch/engine/trained_engine.h"

namespace switchyard {
namespace {

using test::TrainedEngine;

class Waits : public testing::TestWithParam<ops::test::Case> {};
INSTANTIATE_TEST_SUITE_P(All, Waits, testing::ValuesIn(ops::test::cases()), ops::test::case_name);

TEST_P(Waits, of_steps_are_timed_one_by_one) {
  run_thread_ranks(4, {}, [](Communicator& world) {
    omp_set_num_threads(1);
    TrainedEngine rank(test::small(GetParam()), {.dp = 2, .pp = 2}, {&world, [](Communicator*) {}});
    rank.step(1);
    const auto begin = std::chrono::steady_clock::now();
    WaitClock waits(GetParam().device);
    const auto queue = [&](int64_t step) {
      waits.begin();
      rank.engine.queue_step(step, test::rate_of(step), test::read);
      waits.end();
    };
    queue(2);
    double waited = 0;
    for (int64_t step = 2; step < 6; ++step) {
      queue(step + 1);
      EXPECT_EQ(rank.engine.finish_step().step, step);
      const double seconds = waits.take();
      EXPECT_GT(seconds, 0) << "step " << step;
      waited += seconds;
    }
    rank.engine.finish_step();
    waits.take();
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - begin;
    EXPECT_LE(waited, passed.count());
    EXPECT_EQ(waits.take(), 0);
  });
}

}  // namespace
}  // namespace switchyard
