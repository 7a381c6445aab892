#include "optim/shard_runs.h"

#include <gtest/gtest.h>

#include "parallel/comm/communicators.h"
#include "tests/parallel/random_parameters.h"

namespace switchyard {
namespace {

// What a flat element is marked with.
enum Mark : int { none, plain, decayed };

// Marks every element of the flat buffers that the runs name; none may be named twice.
void mark(std::vector<int>& flat, const std::vector<ShardRun>& runs, int with) {
  for (const ShardRun& run : runs) {
    for (int64_t e = 0; e < run.elements; ++e) {
      int& element = flat.at(static_cast<size_t>(run.flat_begin + e));
      EXPECT_EQ(element, none);
      element = with;
    }
  }
}

// On every rank of dp, decayed and plain runs are where their parameters lie, and all runs are
// both.
TEST(ShardRuns, CoverEachParameterOnce) {
  for (const uint32_t seed : {4u, 9u, 21u}) {
    for (int dp_rank = 0; dp_rank < 3; ++dp_rank) {
      auto list = random_parameters({.seed = seed});
      const FlatBuffers buffers(list, {.dp = 3, .dp_rank = dp_rank, .bucket_elements = 150});
      const ShardRuns runs = shard_runs(buffers, {});
      const auto size = static_cast<size_t>(buffers.weights().elements());
      std::vector<int> apart(size), together(size);
      mark(apart, runs.plain, plain);
      mark(apart, runs.decayed, decayed);
      mark(together, runs.all, plain);
      for (const OwnedSegment& segment : buffers.owned()) {
        const bool decays = list[static_cast<size_t>(segment.parameter)].decay;
        for (int64_t e = 0; e < segment.elements; ++e) {
          const auto at = static_cast<size_t>(segment.flat_begin + e);
          ASSERT_EQ(apart[at], decays ? decayed : plain);
          ASSERT_EQ(together[at], plain);
        }
      }
      for (const ShardRun& run : runs.all) {
        EXPECT_EQ(run.in_shard(buffers.weights()).elements(), run.elements);
        EXPECT_LE(run.shard_begin + run.elements, buffers.shard_elements());
      }
    }
  }
}

TEST(ShardRuns, CountWhatThisRankStandsFor) {
  Parameter p;
  p.replicas = 2;
  EXPECT_TRUE(is_counted(p, {.tp = 2}));
  EXPECT_FALSE(is_counted(p, {.tp = 3}));
  p.stored = false;
  EXPECT_FALSE(is_counted(p, {.tp = 2}));
  auto list = random_parameters({.seed = 4});
  for (Parameter& each : list) {
    each.tied = false;
    each.replicas = 2;
  }
  const FlatBuffers buffers(list, {});
  EXPECT_TRUE(shard_runs(buffers, {.tp = 1}).counted.empty());
  EXPECT_EQ(shard_runs(buffers, {.tp = 2}).counted.size(),
            shard_runs(buffers, {.tp = 0}).all.size());
}

}  // namespace
}  // namespace switchyard
