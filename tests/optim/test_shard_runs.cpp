#include "optim/shard_runs.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>

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

// Over all ranks within tp, that own the same of norms, and of keys and values in groups.
TEST(SavedParameters, AreSharedEvenlyAndSavedOnce) {
  using Case = std::array<int, 3>;
  for (const auto& [tp, dp, replicas] :
       {Case{2, 1, 1}, Case{4, 1, 2}, Case{4, 2, 4}, Case{8, 3, 2}}) {
    for (int dp_rank = 0; dp_rank < dp; ++dp_rank) {
      std::vector<int64_t> elements(static_cast<size_t>(tp));  // of what others own as well
      std::map<std::pair<int, int>, int> saved;  // (parameter, group that owns it) -> times
      int64_t largest = 0, first_alone = 0;
      for (int rank = 0; rank < tp; ++rank) {
        auto list = random_parameters(
            {.layers = 5, .tp = tp, .tp_rank = rank, .seed = 9, .replicas = replicas});
        list[2].stored = false;
        const FlatBuffers buffers(list, {.dp = dp, .dp_rank = dp_rank, .bucket_elements = 150});
        const auto mine = saved_parameters(buffers, {.tp = rank}, tp);
        for (const OwnedSegment& segment : buffers.owned()) {
          const Parameter& p = list[static_cast<size_t>(segment.parameter)];
          int& times = saved[{segment.parameter, rank / p.replicas}];
          times += p.stored ? 0 : 1;
          if (p.replicas > 1) largest = std::max(largest, segment.elements);
          if (p.replicas > 1 && p.stored && rank == 0) first_alone += segment.elements;
          if (!mine[static_cast<size_t>(segment.parameter)]) continue;
          ++times;
          if (p.replicas > 1) elements[static_cast<size_t>(rank)] += segment.elements;
        }
      }
      for (const auto& [what, times] : saved) EXPECT_EQ(times, 1) << what.first;
      const auto [least, most] = std::ranges::minmax(elements);
      EXPECT_LE(most - least, largest) << tp << " " << dp;
      EXPECT_LT(most, first_alone);
    }
  }
}

}  // namespace
}  // namespace switchyard
