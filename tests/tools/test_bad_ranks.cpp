// Several ranks say in one line, once, what none of them can do, and all of them end.
#include <gmock/gmock.h>

#include "tests/data/reference_set.h"
#include "tests/tools/program.h"
#include "tests/tools/refusal.h"

namespace fs = std::filesystem;

namespace switchyard::test {
namespace {

using Options = std::vector<std::pair<std::string, std::string>>;

class BadRanks : public testing::Test {
 protected:
  void refuse(const Options& changed, const std::vector<std::string>& parts,
              const std::string& more = "") {
    const std::string line = expect_refused(folder.train("new", changed, more), parts, 2);
    EXPECT_THAT(line, testing::HasSubstr("(rank "));
    EXPECT_FALSE(fs::exists(folder.at("new"))) << line;
  }
  // A set of 400 tokens with one of 299 at `position`, and no PREFIX.json.
  std::string foreign_set(size_t position) {
    std::vector<int64_t> tokens(400, 7);
    tokens[position] = 299;
    ReferenceSet(8, {tokens}).write(folder.at("foreign"));
    return folder.at("foreign");
  }

  RefusalFolder folder;
};

TEST_F(BadRanks, OptionsAreRefusedOnce) {
  expect_refused(folder.train("new", {}, "--frobnicate 1"), {"[options]", "--frobnicate"}, 2);
  expect_refused(folder.train("new", {{"hidden-dropout", "2"}}),
                 {"[options]", "--hidden-dropout 2; 0 <= p < 1 is allowed"}, 2);
  refuse({{"valid-data-path", folder.at("none")}, {"eval-interval", "1"}}, {"none.idx"});
  refuse({{"hidden-size", "262144"}}, {"[memory]"});
}

// As of a script that appends to the arguments of another one.
TEST_F(BadRanks, AnOptionGivenTwiceIsSaidOnceAndItsLastValueCounts) {
  const std::string twice = "--train-iters 1 --seed 5 --train-iters 2";
  for (const bool launches : {false, true}) {
    const std::string run = launches ? "launched" : "under-mpirun";
    const std::string line = folder.train(run, {{"train-iters", ""}}, twice);
    const Outcome outcome = launches ? test::run(words("launch -np 2 --np 1 --np 2 -- " + line))
                                     : test::run(words(line), 2);
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    const auto times = [&](const std::string& said) {
      int count = 0;
      for (size_t at = 0; (at = outcome.err.find(said, at)) != std::string::npos; ++at) ++count;
      return count;
    };
    EXPECT_EQ(times("switchyard: [options] --train-iters given 2 times: 2 counts, not 1\n"), 1)
        << outcome.err;
    EXPECT_EQ(times("--nproc-per-node (--np) given 3 times: 2 counts, not 1\n"), launches ? 1 : 0)
        << outcome.err;
    EXPECT_EQ(metrics_of(folder.at(run)).size(), 2u);
  }
}

TEST_F(BadRanks, ARankThatTheSystemRefusesSaysWhy) {
  const auto outcome = test::run(words("launch -np 2 -- " + folder.train("new")), 1,
                                 "LD_PRELOAD=" SWITCHYARD_FEW_PROCESSES);
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err,
              testing::HasSubstr("local rank 1 of 2 cannot be started: Resource "
                                 "temporarily unavailable; what may limit it: 'ulimit"));
  EXPECT_FALSE(fs::exists(folder.at("new")));
}

TEST_F(BadRanks, LayoutsThatDoNotFit) {
  refuse({{"tp", "3"}}, {"2 ranks with --tp 3", "-np 3"});
  refuse({{"hidden-size", "18"}, {"num-attention-heads", "3"}},
         {"--num-attention-heads 3", "--tp 2"}, "--tp 2");
  refuse({{"hidden-size", "24"}, {"num-attention-heads", "6"}, {"num-query-groups", "3"}},
         {"--num-query-groups 3 with --tp 2"}, "--tp 2");
  refuse({{"seq-length", "15"}}, {"15 rows (--micro-batch-size 1 x --seq-length 15)", "--tp 2"},
         "--tp 2");
  refuse({{"num-layers", "1"}}, {"--pp 2", "--num-layers 1"}, "--pp 2");
  refuse({{"pipeline-layers", "1,2"}}, {"--pipeline-layers 1,2", "together 3"}, "--pp 2");
  refuse({{"micro-batch-size", "4"}}, {"2 data-parallel ranks", "1 microbatches"});
}

TEST_F(BadRanks, ALossThatIsNotFiniteStopsTheRunUnsaved) {
  expect_refused(
      folder.train("hot", {{"lr", "1e30"}, {"clip-grad", "0"}, {"train-iters", "9"}}, "--tp 2"),
      {"[train]", "of step 2 is", "nan", "rank 0"}, 2, 3);
  EXPECT_EQ(metrics_of(folder.at("hot")).size(), 1u);
  EXPECT_FALSE(fs::exists(folder.at("hot") + "/checkpoints"));
}

// Under tp both ranks meet the token at once, under dp one of them: the line is one.
TEST_F(BadRanks, ATokenBeyondTheVocabularyNamesFileAndPosition) {
  const std::string data = foreign_set(203);
  expect_refused(folder.train("new", {{"data-path", data}}), {"foreign", "--vocab-size"});
  EXPECT_FALSE(fs::exists(folder.at("new")));
  for (const char* layout : {"--tp 2", "--tp 1"}) {
    const std::string run = std::string("run-") + layout[5];
    expect_refused(folder.train(run, {{"data-path", data}, {"train-iters", "50"}},
                                std::string("--vocab-size 299 ") + layout),
                   {"foreign.bin", "299", "203"}, 2);
  }
}

TEST_F(BadRanks, EvaluationMeetsABadTokenOnOneRank) {
  const std::string data = foreign_set(390);
  run_well(folder.train("run"));
  expect_refused("eval " + folder.at("run") + " --data-path " + data, {"foreign.bin", "299", "390"},
                 2);
  run_well("eval " + folder.at("run") + " --data-path " + folder.at("b"), 2);
}

}  // namespace
}  // namespace switchyard::test
