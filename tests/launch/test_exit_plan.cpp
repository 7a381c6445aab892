#include <gtest/gtest.h>

#include <csignal>

#include "core/stop_signal.h"
#include "launch/exit_plan.h"

namespace switchyard {
namespace {

Settings with(const std::string& name, const std::string& value) {
  Settings settings;
  settings.set_text(name, value);
  return settings;
}

ExitPlan::Clock::time_point minutes_ago(int minutes) {
  return ExitPlan::Clock::now() - std::chrono::minutes(minutes);
}

TEST(ExitPlan, asks_for_nothing_unasked) {
  const ExitPlan plan({}, true, minutes_ago(1'000));
  EXPECT_FALSE(plan.is_due(100));
  EXPECT_FALSE(plan.asks());
}

TEST(ExitPlan, ends_behind_multiples_of_the_interval) {
  const ExitPlan plan(with("exit-interval", "50"), false);
  EXPECT_FALSE(plan.is_due(49));
  EXPECT_TRUE(plan.is_due(50));
  EXPECT_TRUE(plan.is_due(100));
  EXPECT_FALSE(plan.asks());
  EXPECT_EQ(plan.reason(100), "as --exit-interval 50 asks");
}

TEST(ExitPlan, ends_by_the_clock_of_the_first_rank) {
  const auto settings = with("exit-duration-in-mins", "5");
  EXPECT_FALSE(ExitPlan(settings, true, minutes_ago(4)).asks());
  EXPECT_FALSE(ExitPlan(settings, true).asks());  // the program has just begun
  const ExitPlan late(settings, true, minutes_ago(6));
  EXPECT_TRUE(late.asks());
  EXPECT_EQ(late.reason(7), "as --exit-duration-in-mins 5 asks");
  EXPECT_FALSE(ExitPlan(settings, false, minutes_ago(6)).asks());
}

TEST(ExitPlan, ends_by_a_signal) {
  const ExitPlan plan(with("exit-duration-in-mins", "5"), true, minutes_ago(6));
  const StopSignal signals;
  raise(SIGUSR1);
  EXPECT_TRUE(ExitPlan({}, false).asks());
  EXPECT_EQ(plan.reason(7), "as a signal asked");
}

}  // namespace
}  // namespace switchyard
