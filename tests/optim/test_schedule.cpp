#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "core/error.h"
#include "optim/schedule.h"

namespace switchyard {
namespace {

constexpr DecayStyle decaying[] = {DecayStyle::cosine, DecayStyle::linear,
                                   DecayStyle::one_minus_sqrt};

// The papers' shapes, written out once more.
double shape(DecayStyle style, double x) {
  if (style == DecayStyle::cosine) return (1 + std::cos(std::numbers::pi * x)) / 2;
  return style == DecayStyle::linear ? 1 - x : 1 - std::sqrt(x);
}

double main_path(double maximum, int64_t warmup, int64_t step) {
  return warmup == 0
             ? maximum
             : maximum * std::min(1.0, static_cast<double>(step) / static_cast<double>(warmup));
}

void expect_rate(const Schedule& schedule, int64_t step, double expected) {
  EXPECT_NEAR(learning_rate(schedule, step), expected, 1e-15) << "step " << step;
}

TEST(Schedule, MainPathWarmsUpAndStaysForEver) {
  for (const int64_t warmup : {0, 1, 7, 100}) {
    const auto s = schedule_from_scratch(3e-3, 1e-4, warmup, DecayStyle::constant, 0);
    for (int64_t step = 1; step <= 300; ++step) {
      expect_rate(s, step, main_path(3e-3, warmup, step));
    }
    EXPECT_EQ(learning_rate(s, int64_t{1} << 40), 3e-3);
  }
}

TEST(Schedule, DecaysFromScratchBehindTheWarmup) {
  for (const DecayStyle style : decaying) {
    for (const int64_t warmup : {0, 10}) {
      const int64_t end = 90;
      const auto s = schedule_from_scratch(6e-4, 6e-5, warmup, style, end);
      for (int64_t step = 1; step <= warmup; ++step) {
        expect_rate(s, step, main_path(6e-4, warmup, step));
      }
      for (int64_t step = warmup + 1; step <= end; ++step) {
        const double x = static_cast<double>(step - warmup) / static_cast<double>(end - warmup);
        expect_rate(s, step, 6e-5 + (6e-4 - 6e-5) * shape(style, x));
      }
      for (const int64_t behind : {end, end + 1, end + 1000}) {
        EXPECT_EQ(learning_rate(s, behind), 6e-5);
      }
    }
  }
}

TEST(Schedule, BranchDecaysFromTheForkStep) {
  const auto parent = schedule_from_scratch(1e-3, 0, 20, DecayStyle::constant, 0);
  for (const DecayStyle style : decaying) {
    const auto branch =
        schedule_from_fork(parent, 100, {.minimum = 1e-5, .style = style, .decay_iters = 60});
    EXPECT_EQ(branch.decay_from, 1e-3);
    for (int64_t n = 1; n <= 60; ++n) {
      expect_rate(branch, 100 + n,
                  1e-5 + (1e-3 - 1e-5) * shape(style, static_cast<double>(n) / 60));
    }
    EXPECT_EQ(learning_rate(branch, 160), 1e-5);
    EXPECT_EQ(learning_rate(branch, 161), 1e-5);
  }
}

TEST(Schedule, BranchFromTheWarmupFinishesItAndDecaysOverTheRest) {
  const auto parent = schedule_from_scratch(1e-3, 0, 20, DecayStyle::constant, 0);
  const auto branch = schedule_from_fork(
      parent, 5, {.minimum = 1e-5, .style = DecayStyle::linear, .decay_iters = 25});
  for (int64_t step = 6; step <= 20; ++step) {
    EXPECT_EQ(learning_rate(branch, step), learning_rate(parent, step));
  }
  for (int64_t n = 1; n <= 10; ++n) {
    expect_rate(branch, 20 + n, 1e-5 + (1e-3 - 1e-5) * (1 - static_cast<double>(n) / 10));
  }
}

// Branches that were made before warm-ups had a beginning decay from within their parent's.
TEST(Schedule, ADecayInsideAWarmupTakesItsPlace) {
  const Schedule old{.maximum = 1e-3,
                     .warmup = 20,
                     .style = DecayStyle::linear,
                     .decay_begin = 5,
                     .decay_from = 2.5e-4,
                     .decay_iters = 10};
  for (int64_t n = 0; n <= 10; ++n) {
    expect_rate(old, 5 + n, 2.5e-4 * (1 - static_cast<double>(n) / 10));
  }
  const auto again = schedule_from_fork(old, 8, {.style = DecayStyle::linear, .decay_iters = 7});
  for (int64_t n = 1; n <= 7; ++n) expect_rate(again, 8 + n, learning_rate(old, 8 + n));
  EXPECT_EQ(describe_rates(old, 5).find("warm-up"), std::string::npos);
}

TEST(Schedule, AWarmupLeadsFromTheParentsRateToTheNewOne) {
  const auto main_rates = schedule_from_scratch(1e-3, 0, 20, DecayStyle::constant, 0);
  const auto decayed =
      schedule_from_fork(main_rates, 100, {.style = DecayStyle::cosine, .decay_iters = 40});
  for (const double maximum : {2e-3, 1e-5}) {  // up and down
    const auto s = schedule_from_fork(decayed, 120, {.maximum = maximum, .warmup = 30});
    const double from = learning_rate(decayed, 120);
    for (int64_t n = 1; n <= 30; ++n) {
      expect_rate(s, 120 + n, from + (maximum - from) * static_cast<double>(n) / 30);
    }
    EXPECT_EQ(learning_rate(s, 151), maximum);
    // A warm-up that a branch inherits goes on.
    EXPECT_EQ(schedule_from_fork(s, 130, {}), s);
  }
  const auto at_start = schedule_from_fork(main_rates, 0, {.warmup = 7});
  EXPECT_EQ(at_start, schedule_from_scratch(1e-3, 0, 7, DecayStyle::constant, 0));
}

TEST(Schedule, ForkOfAForkDecaysFromTheRateOfTheFork) {
  const auto main_rates = schedule_from_scratch(1e-3, 0, 0, DecayStyle::constant, 0);
  const auto branch =
      schedule_from_fork(main_rates, 50, {.style = DecayStyle::cosine, .decay_iters = 40});
  const auto second = schedule_from_fork(
      branch, 70, {.minimum = 1e-6, .style = DecayStyle::one_minus_sqrt, .decay_iters = 30});
  const double from = learning_rate(branch, 70);
  EXPECT_NEAR(from, 1e-3 * 0.5, 1e-12);  // half of a cosine
  for (int64_t n = 1; n <= 30; ++n) {
    expect_rate(second, 70 + n,
                1e-6 + (from - 1e-6) * (1 - std::sqrt(static_cast<double>(n) / 30)));
  }
}

TEST(Schedule, ConstantForkEqualsTheMainPath) {
  const auto parent = schedule_from_scratch(1e-3, 0, 30, DecayStyle::constant, 0);
  const auto same = schedule_from_fork(parent, 10, {});
  EXPECT_EQ(parent, same);
  const auto lower = schedule_from_fork(parent, 40, {.maximum = 5e-4});
  EXPECT_EQ(learning_rate(lower, 41), 5e-4);
}

TEST(Schedule, RefusesWhatCannotBe) {
  const auto constant = DecayStyle::constant;
  const auto cosine = DecayStyle::cosine;
  EXPECT_THROW(schedule_from_scratch(-1e-3, 0, 0, constant, 0), Error);
  EXPECT_THROW(schedule_from_scratch(1e-3, -1e-9, 0, constant, 0), Error);
  EXPECT_THROW(schedule_from_scratch(1e-3, 2e-3, 0, constant, 0), Error);
  EXPECT_THROW(schedule_from_scratch(std::nan(""), 0, 0, constant, 0), Error);
  EXPECT_THROW(schedule_from_scratch(1e-3, 0, -1, constant, 0), Error);
  EXPECT_THROW(schedule_from_scratch(1e-3, 0, 0, cosine, 0), Error);
  EXPECT_THROW(schedule_from_scratch(1e-3, 0, 10, cosine, 10), Error);
  const auto parent = schedule_from_scratch(1e-3, 0, 20, constant, 0);
  const auto refuse = [&](int64_t step, const ScheduleChange& change) {
    EXPECT_THROW(schedule_from_fork(parent, step, change), Error);
  };
  refuse(50, {.style = cosine, .decay_iters = 0});
  refuse(-1, {.style = cosine, .decay_iters = 10});
  refuse(1, {.minimum = 2e-3, .style = cosine, .decay_iters = 50});
  refuse(50, {.minimum = 1e-3, .style = cosine, .decay_iters = 10});
  refuse(5, {.style = cosine, .decay_iters = 15});  // the warm-up takes them all
  refuse(50, {.warmup = 10, .style = cosine, .decay_iters = 10});
  refuse(50, {.warmup = -1});
  refuse(50, {.warmup = int64_t{1} << 62});
  refuse(50, {.style = cosine, .decay_iters = int64_t{1} << 62});
  EXPECT_THROW(schedule_from_scratch(1e-3, 1e-3, 0, cosine, 10), Error);
  const auto decayed = schedule_from_fork(parent, 50, {.style = cosine, .decay_iters = 10});
  EXPECT_THROW(schedule_from_fork(decayed, 60, {.style = cosine, .decay_iters = 10}), Error);
  EXPECT_THROW(schedule_from_fork(decayed, 60, {}), Error);  // constant at 0
  EXPECT_EQ(learning_rate(schedule_from_fork(decayed, 60, {.maximum = 0}), 61), 0);
  EXPECT_THROW(learning_rate(parent, -1), Error);
}

TEST(Schedule, RatesAreSaidWhereTheirCourseChanges) {
  const auto scratch = schedule_from_scratch(1e-3, 0, 4, DecayStyle::linear, 8);
  EXPECT_EQ(describe_rates(scratch, 0),
            "0.00025 at step 1 (first), 0.001 at step 4 (last of the warm-up), 0.00075 at step 5 "
            "(first of the decay), 0 at step 8 (last of the decay)");
  EXPECT_EQ(describe_rates(scratch, 4),
            "0.00075 at step 5 (first, first of the decay), 0 at step 8 (last of the decay)");
  EXPECT_EQ(describe_rates(scratch, 6),
            "0.00025 at step 7 (first), 0 at step 8 (last of the decay)");
  EXPECT_EQ(describe_rates(scratch, 20), "0 at step 21 (first)");
}

TEST(DecayStyle, NamesRoundTrip) {
  for (const DecayStyle style :
       {DecayStyle::constant, DecayStyle::cosine, DecayStyle::linear, DecayStyle::one_minus_sqrt}) {
    EXPECT_EQ(decay_style_named(name_of(style)), style);
  }
  EXPECT_THROW(decay_style_named("exponential"), Error);
}

}  // namespace
}  // namespace switchyard
