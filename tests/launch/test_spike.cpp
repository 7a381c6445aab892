#include "launch/spike.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "core/error.h"

namespace switchyard {
namespace {

// A loss such as runs log: a warm-up's plateau, a power law, noise, heavier early on.
double recorded_like(int64_t step, std::mt19937& random, double noise) {
  std::normal_distribution<double> normal(0, 1);
  const double early = std::exp(-static_cast<double>(step) / 50);
  const double course = 2.8 + 8 * std::pow(1 + static_cast<double>(step) / 20, -0.6);
  return course + noise * (1 + 2 * early) * normal(random);
}

int64_t count_spikes(double noise, uint32_t seed, int64_t jump_at, double jump) {
  std::mt19937 random(seed);
  std::deque<double> before;
  int64_t spikes = 0;
  for (int64_t step = 1; step <= 3000; ++step) {
    const double loss = recorded_like(step, random, noise) + (step == jump_at ? jump : 0);
    const bool spike = find_spike(before, loss).has_value();
    spikes += spike ? 1 : 0;
    EXPECT_TRUE(!spike || step == jump_at) << step;
    before.push_back(loss);
    if (before.size() > 128) before.pop_front();
  }
  return spikes;
}

TEST(Spike, IsNoNoiseOnAFallingLoss) {
  for (const double noise : {0.0, 0.005, 0.05, 0.3}) {
    for (uint32_t seed = 0; seed < 5; ++seed) EXPECT_EQ(count_spikes(noise, seed, 0, 0), 0);
  }
}

TEST(Spike, IsAJump) {
  for (const int64_t at : {400, 2900}) {
    const double jump = at < 1000 ? 2 : 0.6;  // a loss that falls fast hides more
    EXPECT_EQ(count_spikes(0.05, 1, at, jump), 1);
    EXPECT_EQ(count_spikes(0.005, 1, at, jump), 1);
  }
}

TEST(Spike, IsMeasuredInSpreadsAboveTheMedian) {
  std::deque<double> before;
  for (int i = 0; i < 31; ++i) before.push_back(i % 3);  // 0, 1, 2: median 1, deviations 0 or 1
  EXPECT_FALSE(find_spike(before, 1e9));                 // too few
  before.push_back(1);
  EXPECT_FALSE(find_spike(before, 1 + 8 * 1.4826));
  const auto spike = find_spike(before, 1.001 + 8 * 1.4826);
  ASSERT_TRUE(spike);
  EXPECT_EQ(spike->median, 1);
  const std::deque<double> still(64, 2.0);
  EXPECT_FALSE(find_spike(still, 2.1));
  EXPECT_TRUE(find_spike(still, 2.11));
}

TEST(Spike, IsLookedForWithinAStageOfData) {
  PathSpecification path;
  path.settings.set_text("global-batch-size", "2");
  path.settings.set_text("seq-length", "8");
  path.stages = {{0, {}}, {100, {}}};
  SpikeWatch watch(path);
  for (int64_t step = 1; step <= 40; ++step) EXPECT_FALSE(watch.add(step, 3));
  EXPECT_FALSE(watch.add(41, std::nan("")));
  EXPECT_TRUE(watch.add(42, 4));
  for (int64_t step = 51; step <= 90; ++step) EXPECT_FALSE(watch.add(step, 5)) << step;
  const auto spike = watch.add(91, 6);
  ASSERT_TRUE(spike);
  EXPECT_NE(describe(path, 91, *spike).find("samples 180:182"), std::string::npos);
  SpikeWatch resumed(path);
  std::string losses;
  for (int64_t step = 51; step <= 90; ++step) losses += fmt::format("{} 5\n", step);
  add_recorded(resumed, losses);
  EXPECT_TRUE(resumed.add(91, 6));
}

}  // namespace
}  // namespace switchyard
