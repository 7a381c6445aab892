// More tp ranks than key/value heads: ranks hold a head together, and are one rank's run.
#include <gtest/gtest.h>
#include <omp.h>

#include "tests/launch/engine/trained_engine.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {
namespace {

using test::state_in, test::TrainedEngine;

class SharedKeys : public testing::TestWithParam<ops::test::Case> {
 protected:
  // 4 query heads, with biases and both dropouts.
  static EngineOptions options(int64_t groups) {
    EngineOptions o = test::small(GetParam());
    o.model.hidden = 32;
    o.model.heads = 4;
    o.model.head_dim = 8;
    o.model.ffn_hidden = 64;
    o.model.query_groups = groups;
    o.model.hidden_dropout = o.model.attention_dropout = 0.1;
    return o;
  }

  // The steps behind `begin` up to `end`; with a folder from its checkpoint, and into a new one.
  static std::vector<Engine::StepResult> train(const EngineOptions& o, const Layout& layout,
                                               int64_t begin, int64_t end,
                                               const std::filesystem::path& folder = {}) {
    std::vector<Engine::StepResult> results;
    std::vector<std::vector<double>> keys(static_cast<size_t>(layout.ranks()));
    run_thread_ranks(layout.ranks(), {}, [&](Communicator& world) {
      omp_set_num_threads(1);
      TrainedEngine rank(o, layout, {&world, [](Communicator*) {}});
      if (begin > 0) test::load(rank, folder, begin);
      for (int64_t step = begin + 1; step <= end; ++step) {
        const auto result = rank.step(step);
        if (world.rank() == 0) results.push_back(result);
      }
      if (!folder.empty()) test::save(rank, folder, end);
      ops::test::stream_at_work = &rank.engine.context().stream;
      for (const Parameter& p : rank.engine.model().stage().parameters()) {
        if (p.name == "layers.0.attention.k.weight") {
          keys[static_cast<size_t>(world.rank())] = ops::test::values(p.weight);
        }
      }
    });
    const auto sharing = static_cast<size_t>(layout.tp / o.model.query_groups);
    for (size_t rank = 0; sharing > 1 && rank < keys.size(); ++rank) {
      EXPECT_EQ(keys[rank], keys[rank / sharing * sharing]) << "rank " << rank;
    }
    return results;
  }

  // Sums in another order: in fp32 the bounds of every other layout.
  static void expect_close(const std::vector<Engine::StepResult>& run,
                           const std::vector<Engine::StepResult>& reference) {
    const bool full = GetParam().dtype == DType::f32;
    ASSERT_EQ(run.size(), reference.size());
    for (size_t i = 0; i < run.size(); ++i) {
      EXPECT_FALSE(run[i].skipped);
      EXPECT_NEAR(run[i].loss, reference[i].loss, (full ? 1e-5 : 2e-2) * reference[i].loss);
      EXPECT_NEAR(run[i].grad_norm, reference[i].grad_norm,
                  (full ? 1e-4 : 2e-2) * reference[i].grad_norm);
    }
  }
};
INSTANTIATE_TEST_SUITE_P(All, SharedKeys, testing::ValuesIn(ops::test::cases()),
                         ops::test::case_name);

TEST_P(SharedKeys, TrainAsOneRankDoes) {
  for (const int64_t groups : {1, 2}) {
    const EngineOptions o = options(groups);
    const auto reference = train(o, {}, 0, 4);
    for (const Layout& layout : {Layout{.tp = 4}, Layout{.tp = 4, .dp = 2},
                                 Layout{.tp = static_cast<int>(2 * groups), .pp = 2}}) {
      SCOPED_TRACE(layout.to_string() + ", groups " + std::to_string(groups));
      expect_close(train(o, layout, 0, 4), reference);
    }
  }
}

// What ranks share is saved once and read by all of them.
TEST_P(SharedKeys, CheckpointsGoToOneRankAndBack) {
  const EngineOptions o = options(2);
  const auto reference = train(o, {}, 0, 6);
  const Layout sharing{.tp = 4, .dp = 2};
  const test::TemporaryFolder folder;
  auto run = train(o, sharing, 0, 2, folder.path());
  for (const auto& [layout, begin] : {std::pair{Layout{}, 2}, {sharing, 4}}) {
    const test::TemporaryFolder copy;
    run_thread_ranks(layout.ranks(), {}, [&, l = layout, step = begin](Communicator& world) {
      TrainedEngine rank(o, l, {&world, [](Communicator*) {}});
      test::load(rank, folder.path(), step);
      test::save(rank, copy.path(), step);
    });
    EXPECT_TRUE(state_in(copy.path(), begin) == state_in(folder.path(), begin)) << begin;
    const auto more = train(o, layout, begin, begin + 2, folder.path());
    run.insert(run.end(), more.begin(), more.end());
  }
  expect_close(run, reference);
}

}  // namespace
}  // namespace switchyard
