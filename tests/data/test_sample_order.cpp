#include "data/sample_order.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <set>

#include "core/error.h"

namespace switchyard {
namespace {

std::vector<uint64_t> images(const Permutation& permutation, uint64_t count) {
  std::vector<uint64_t> all;
  for (uint64_t i = 0; i < count; ++i) all.push_back(permutation(i));
  return all;
}

// Pearson's statistic of counts that should be equal; its mean is the number of cells less one.
double chi_square(const std::vector<int64_t>& counts) {
  const double expected =
      static_cast<double>(std::accumulate(counts.begin(), counts.end(), int64_t{0})) /
      static_cast<double>(counts.size());
  double sum = 0;
  for (const int64_t count : counts) {
    const double off = static_cast<double>(count) - expected;
    sum += off * off / expected;
  }
  return sum;
}

TEST(Permutation, HitsEveryNumberOnceInManySizes) {
  for (uint64_t size = 1; size <= 5000; size += size < 1000 ? 1 : 17) {
    std::vector<bool> hit(size, false);
    for (const uint64_t image : images(Permutation(size, 7, 1, 2, size), size)) {
      ASSERT_LT(image, size);
      ASSERT_FALSE(hit[image]) << "size " << size;
      hit[image] = true;
    }
  }
}

TEST(Permutation, HitsNothingTwiceInLargeSizes) {
  for (const uint64_t size : {uint64_t{65'536}, uint64_t{1'000'003}, (uint64_t{1} << 32) + 1,
                              (uint64_t{1} << 40) - 3, uint64_t{1} << 62}) {
    const auto all = images(Permutation(size, 7, 0, 0, 0), 200'000 < size ? 200'000 : size);
    const std::set<uint64_t> distinct(all.begin(), all.end());
    EXPECT_EQ(distinct.size(), all.size()) << size;
    EXPECT_LT(*distinct.rbegin(), size);
    EXPECT_GT(*distinct.rbegin(), size / 10 * 9);
  }
}

TEST(Permutation, SendsTheFirstPositionsEverywhereAlike) {
  for (const uint64_t size : {2, 3, 5, 7, 9, 16, 17, 60}) {
    for (const uint64_t position : {uint64_t{0}, uint64_t{1}, size - 1}) {
      std::vector<int64_t> counts(size);
      for (uint64_t epoch = 0; epoch < 20'000; ++epoch) {
        ++counts[Permutation(size, 3, 0, 0, epoch)(position)];
      }
      const double freedom = static_cast<double>(size - 1);
      EXPECT_LT(chi_square(counts), freedom + 5 * std::sqrt(2 * freedom) + 5)
          << "size " << size << ", position " << position;
    }
  }
}

TEST(Permutation, NeighboursLandIndependently) {
  constexpr size_t cells = 8;
  const Permutation permutation(1 << 20, 11, 0, 0, 0);
  std::vector<int64_t> counts(cells * cells);
  for (uint64_t i = 0; i + 1 < 1 << 18; ++i) {
    ++counts[(permutation(i) >> 17) * cells + (permutation(i + 1) >> 17)];
  }
  EXPECT_LT(chi_square(counts), 63 + 5 * std::sqrt(2.0 * 63));
}

TEST(Permutation, EveryPartOfTheKeyMatters) {
  const auto reference = images(Permutation(1000, 1, 2, 3, 4), 1000);
  EXPECT_EQ(images(Permutation(1000, 1, 2, 3, 4), 1000), reference);
  for (const Permutation& other :
       {Permutation(1000, 9, 2, 3, 4), Permutation(1000, 1 + (uint64_t{1} << 32), 2, 3, 4),
        Permutation(1000, 1, 9, 3, 4), Permutation(1000, 1, 2, 9, 4), Permutation(1000, 1, 2, 3, 9),
        Permutation(1000, 1, 2, 3, 4 + (uint64_t{1} << 32))}) {
    const auto all = images(other, 1000);
    int64_t equal = 0;
    for (size_t i = 0; i < all.size(); ++i) equal += all[i] == reference[i];
    EXPECT_LT(equal, 12);  // about one is chance
  }
}

TEST(Permutation, RefusesWhatItCannotPermute) {
  EXPECT_THROW(Permutation(0, 1, 0, 0, 0), Error);
  EXPECT_THROW(Permutation((uint64_t{1} << 62) + 1, 1, 0, 0, 0), Error);
  EXPECT_THROW(Permutation(5, 1, 0, 0, 0)(5), Error);
}

TEST(BlendQuotas, FillTheBlockByLargestRemainder) {
  using Quotas = std::vector<int64_t>;
  EXPECT_EQ(blend_quotas({3.0}), Quotas{65'536});
  EXPECT_EQ(blend_quotas({1, 1}), (Quotas{32'768, 32'768}));
  EXPECT_EQ(blend_quotas({0.7, 0.3}), (Quotas{45'875, 19'661}));
  EXPECT_EQ(blend_quotas({1, 1, 1}), (Quotas{21'846, 21'845, 21'845}));
  EXPECT_EQ(blend_quotas({1e308, 1e308}), (Quotas{32'768, 32'768}));
  EXPECT_EQ(blend_quotas({65'535, 1}), (Quotas{65'535, 1}));
  std::vector<double> many;
  for (int i = 0; i < 1000; ++i) many.push_back(1.0 / (i + 1));
  const Quotas quotas = blend_quotas(many);
  EXPECT_EQ(std::accumulate(quotas.begin(), quotas.end(), int64_t{0}), blend_block);
}

TEST(BlendQuotas, RefuseWeightsThatMeanNothing) {
  for (const std::vector<double>& weights :
       {std::vector<double>{}, std::vector<double>{0.0}, std::vector<double>{1, -1},
        std::vector<double>{1, std::numeric_limits<double>::infinity()},
        std::vector<double>{std::numeric_limits<double>::quiet_NaN()},
        std::vector<double>{1, 1e-6}}) {
    EXPECT_THROW(blend_quotas(weights), Error);
  }
}

TEST(SampleOrder, KeepsTheQuotasInEveryBlock) {
  const SampleOrder order(5, 0, {0.5, 0.3, 0.2}, {1000, 70'000, 31});
  for (int64_t block = 0; block < 3; ++block) {
    std::vector<int64_t> counts(3);
    for (int64_t i = 0; i < blend_block; ++i) {
      ++counts[static_cast<size_t>(order.at(block * blend_block + i).set)];
    }
    EXPECT_EQ(counts, order.quotas());
  }
}

// In order of position a set's epoch k is read to its end before epoch k + 1 begins, and holds each
// window once.
void expect_whole_epochs(const std::vector<double>& weights, const std::vector<int64_t>& windows,
                         int64_t positions, const Seeds& seeds = 5) {
  const SampleOrder order(seeds, 1, weights, windows);
  std::vector<int64_t> epoch(windows.size());
  std::vector<std::set<int64_t>> read(windows.size());
  for (int64_t position = 0; position < positions; ++position) {
    const SamplePlace place = order.at(position);
    const auto d = static_cast<size_t>(place.set);
    if (static_cast<int64_t>(read[d].size()) == windows[d]) {
      read[d].clear();
      ++epoch[d];
    }
    ASSERT_EQ(place.epoch, epoch[d]) << "set " << d << ", position " << position;
    ASSERT_TRUE(place.window >= 0 && place.window < windows[d]);
    ASSERT_TRUE(read[d].insert(place.window).second) << "set " << d << ", position " << position;
  }
}

TEST(SampleOrder, ReadsEachWindowOnceBeforeAnyTwice) {
  for (const int64_t windows : {1, 2, 100, 10'007, 100'000}) {
    expect_whole_epochs({2.0}, {windows}, 3 * blend_block);
  }
  expect_whole_epochs({0.7, 0.3}, {100, 1000}, 3 * blend_block);
  expect_whole_epochs({0.5, 0.3, 0.2}, {1000, 70'000, 31}, 5 * blend_block);
  expect_whole_epochs(std::vector<double>(50, 1.0), std::vector<int64_t>(50, 333), blend_block);
}

Seeds changing(std::vector<SeedChange> changes) {
  Seeds seeds(0);
  seeds.changes = std::move(changes);
  return seeds;
}

TEST(SampleOrder, ReadsEachWindowOnceUnderOtherSeeds) {
  const Seeds seeds = changing({{0, 5}, {10, 6}, {99, 7}, {20'000, 5}, {70'000, 8}});
  for (const int64_t windows : {1, 2, 3, 100, 10'007, 100'000}) {
    expect_whole_epochs({2.0}, {windows}, 3 * blend_block, seeds);
  }
  expect_whole_epochs({0.7, 0.3}, {100, 1000}, 3 * blend_block, seeds);
  expect_whole_epochs({0.5, 0.3, 0.2}, {1000, 70'000, 31}, 5 * blend_block, seeds);
}

TEST(SampleOrder, AnotherSeedChangesWhatIsLeftAndNothingBefore) {
  const std::vector<double> weights = {0.7, 0.3};
  const std::vector<int64_t> windows = {2000, 500};
  const SampleOrder before(5, 1, weights, windows), other(6, 1, weights, windows);
  const SampleOrder after(changing({{0, 5}, {1000, 6}}), 1, weights, windows);
  int64_t equal = 0, left = 0;
  for (int64_t position = 0; position < 10'000; ++position) {
    const SamplePlace is = after.at(position), was = before.at(position);
    EXPECT_EQ(is.set, was.set);
    EXPECT_EQ(is.epoch, was.epoch);
    if (position < 1000) {
      EXPECT_EQ(is.window, was.window);
    } else if (is.epoch == 0) {
      ++left;
      equal += is.window == was.window;
    } else {
      EXPECT_EQ(is.window, other.at(position).window);
    }
  }
  EXPECT_GT(left, 1000);
  EXPECT_LT(equal, 20);
}

TEST(Seeds, OfAStageBeginWithTheOneInForce) {
  const Seeds all = changing({{0, 1}, {10, 2}, {20, 3}, {20, 4}, {30, 5}});
  using Changes = std::vector<SeedChange>;
  EXPECT_EQ(all.within(0, 20).changes, (Changes{{0, 1}, {10, 2}}));
  EXPECT_EQ(all.within(10, 30).changes, (Changes{{0, 2}, {10, 4}}));
  EXPECT_EQ(all.within(25, 1000).changes, (Changes{{0, 4}, {5, 5}}));
  EXPECT_EQ(changing({{0, 1}, {0, 2}}).within(0, 9).changes, (Changes{{0, 2}}));
  EXPECT_EQ(changing({{0, 1}, {0, 2}}).initial(), 1u);
}

// Over all stretches of positions, the most that a set's count is off its share.
double worst_unevenness(const std::vector<double>& weights) {
  const SampleOrder order(1, 0, weights, std::vector<int64_t>(weights.size(), 1'000'000));
  std::vector<double> count(weights.size()), lowest(weights.size()), highest(weights.size());
  for (int64_t position = 0; position < 2 * blend_block; ++position) {
    ++count[static_cast<size_t>(order.at(position).set)];
    for (size_t d = 0; d < weights.size(); ++d) {
      const double share = static_cast<double>((position + 1) * order.quotas()[d]) /
                           static_cast<double>(blend_block);
      lowest[d] = std::min(lowest[d], count[d] - share);
      highest[d] = std::max(highest[d], count[d] - share);
    }
  }
  double worst = 0;
  for (size_t d = 0; d < weights.size(); ++d) worst = std::max(worst, highest[d] - lowest[d]);
  return worst;
}

TEST(SampleOrder, InterleavesSetsEvenly) {
  EXPECT_EQ(worst_unevenness({1.0}), 0);
  EXPECT_LT(worst_unevenness({0.7, 0.3}), 1);
  EXPECT_LT(worst_unevenness({1, 1, 1}), 1);
  EXPECT_LT(worst_unevenness({1, 1, 1, 65'533}), 1);  // the rare ones do not cluster
  EXPECT_LT(worst_unevenness({0.5, 0.3, 0.2}), 2);
  std::vector<double> many;
  for (int i = 0; i < 40; ++i) many.push_back(1.0 / (i + 1));
  EXPECT_LT(worst_unevenness(many), 3);
}

TEST(SampleOrder, StartsEachEpochInANewOrder) {
  const SampleOrder order(5, 0, {1.0}, {blend_block});
  int64_t equal = 0;
  for (int64_t i = 0; i < 1000; ++i) {
    const SamplePlace second = order.at(blend_block + i);
    EXPECT_EQ(second.epoch, 1);
    equal += order.at(i).window == second.window;
  }
  EXPECT_LT(equal, 12);
}

TEST(SampleOrder, DependsOnSeedAndStage) {
  const auto windows = [](uint64_t seed, int stage) {
    const SampleOrder order(seed, stage, {1, 1}, {5000, 5000});
    std::vector<int64_t> all;
    for (int64_t i = 0; i < 100; ++i) all.push_back(order.at(i).window);
    return all;
  };
  EXPECT_EQ(windows(1, 0), windows(1, 0));
  EXPECT_NE(windows(1, 0), windows(2, 0));
  EXPECT_NE(windows(1, 0), windows(1, 1));
}

// A path must read on as it began after any change of this code. The numbers come from a separate
// program written from docs/design.md.
TEST(SampleOrder, StaysWhatItIs) {
  using Places = std::vector<std::vector<int64_t>>;
  const auto places = [](const SampleOrder& order, const std::vector<int64_t>& positions) {
    Places all;
    for (const int64_t position : positions) {
      const SamplePlace place = order.at(position);
      all.push_back({place.set, place.epoch, place.window});
    }
    return all;
  };
  EXPECT_EQ(places({1234, 3, {0.7, 0.3}, {1'000'000, 12'345}}, {0, 1, 65'535, 123'456'789}),
            (Places{{1, 0, 4613}, {0, 0, 854'908}, {0, 0, 366'965}, {0, 86, 979'873}}));
  EXPECT_EQ(places({1234, 3, {33'000, 100, 22'000, 10'436}, {1'000'000, 12'345, 77, 5}},
                   {0, 2, 65'535, 123'456'789}),
            (Places{{1, 0, 4613}, {2, 0, 56}, {0, 0, 269'083}, {2, 538'228, 42}}));
}

TEST(SampleOrder, WorksFarOut) {
  const SampleOrder order(1, 0, {1.0}, {3});
  const SamplePlace place = order.at(std::numeric_limits<int64_t>::max() / 4);
  EXPECT_GE(place.window, 0);
  EXPECT_LT(place.window, 3);
}

TEST(SampleOrder, RefusesWhatHasNoOrder) {
  EXPECT_THROW(SampleOrder(1, 0, {1.0}, {0}), Error);
  EXPECT_THROW(SampleOrder(1, 0, {1.0, 1.0}, {5}), Error);
  EXPECT_THROW(SampleOrder(1, -1, {1.0}, {5}), Error);
  EXPECT_THROW(SampleOrder(1, 0, {1.0}, {5}).at(-1), Error);
}

}  // namespace
}  // namespace switchyard
