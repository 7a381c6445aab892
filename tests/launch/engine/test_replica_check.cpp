// A bit that flips on one rank is found where others hold the same weights, and the rank is named.
#include "launch/engine/replica_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <omp.h>

#include <functional>

#include "tests/launch/engine/trained_engine.h"

namespace switchyard {
namespace {

using test::TrainedEngine;
using testing::AllOf;
using testing::HasSubstr;

using Chosen = std::function<bool(const Parameter&)>;

class Replicas : public testing::TestWithParam<ops::test::Case> {
 protected:
  // The first bit of the last element of the first parameter that is chosen.
  static void flip(TrainedEngine& rank, const Chosen& chosen) {
    Stream& stream = rank.engine.context().stream;
    for (const Parameter& p : rank.engine.model().buffers().parameters()) {
      if (!chosen(p)) continue;
      char last = 0;
      char* place = static_cast<char*>(p.weight.data) + p.weight.bytes() - 1;
      copy_bytes(&last, place, 1, stream);
      stream.synchronize();
      last ^= 1;
      copy_bytes(place, &last, 1, stream);
      stream.synchronize();
      return;
    }
    ADD_FAILURE() << "no such parameter";
  }

  // Two good steps, then one bit of `broken` flips; what the check says. Empty: all is well.
  static std::string look(const Layout& layout, int broken, const Chosen& chosen,
                          int64_t groups = 4) {
    std::vector<std::string> said(static_cast<size_t>(layout.ranks()));
    run_thread_ranks(layout.ranks(), {}, [&](Communicator& world) {
      omp_set_num_threads(1);
      EngineOptions o = test::small(GetParam());
      o.model.hidden = 32;
      o.model.heads = 4;
      o.model.head_dim = 8;
      o.model.ffn_hidden = 64;
      o.model.query_groups = groups;
      TrainedEngine rank(o, layout, {&world, [](Communicator*) {}});
      rank.step(1);
      rank.step(2);
      check_replicas(rank.engine, 2, "as it should be");
      if (world.rank() == broken) flip(rank, chosen);
      try {
        check_replicas(rank.engine, 3, "look at it");
      } catch (const AgreedError& problem) {
        EXPECT_EQ(problem.code(), ExitCode::differs);
        said[static_cast<size_t>(world.rank())] = problem.what();
      }
    });
    for (const auto& text : said) EXPECT_EQ(text, said[0]);
    return said[0];
  }
};
INSTANTIATE_TEST_SUITE_P(All, Replicas, testing::ValuesIn(ops::test::cases()),
                         ops::test::case_name);

TEST_P(Replicas, over_dp_name_the_rank_that_differs_from_most) {
  const auto up = [](const Parameter& p) { return p.name == "layers.1.mlp.up.weight"; };
  EXPECT_EQ(look({.dp = 3}, -1, up), "");
  EXPECT_THAT(
      look({.dp = 3}, 1, up),
      AllOf(HasSubstr("step 3: weights of world rank 1 differ from those of world ranks 0 2"),
            HasSubstr("and 1 of "),
            HasSubstr("tensors differ, first 'layers.1.mlp.up.weight'; look at it")));
}

TEST_P(Replicas, of_two_are_both_named) {
  EXPECT_THAT(look({.tp = 2, .dp = 2}, 3,
                   [](const Parameter& p) { return p.name == "layers.0.mlp.up.weight"; }),
              HasSubstr("weights of world ranks 1 3 differ from each other, and no majority says "
                        "which are right"));
}

TEST_P(Replicas, over_tp_are_the_weights_that_ranks_share) {
  EXPECT_THAT(look({.tp = 4}, 2, [](const Parameter& p) { return p.replicas > 1; }),
              HasSubstr("weights of world rank 2 differ from those of world ranks 0 1 3"));
  // A key that two ranks share is theirs alone.
  EXPECT_THAT(look(
                  {.tp = 4}, 2, [](const Parameter& p) { return p.fused && p.replicas == 2; }, 2),
              HasSubstr("weights of world ranks 2 3 differ from each other"));
  // What each rank has for itself has no other to be held against.
  EXPECT_EQ(look({.tp = 4}, 2, [](const Parameter& p) { return p.replicas == 1; }), "");
}

TEST_P(Replicas, over_pp_are_the_tied_embeddings) {
  EXPECT_THAT(look({.pp = 2}, 1, [](const Parameter& p) { return p.tied; }),
              HasSubstr("weights of world ranks 0 1 differ from each other"));
}

}  // namespace
}  // namespace switchyard
