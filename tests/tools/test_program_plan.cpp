#include <gmock/gmock.h>

#include "tests/support/temporary_folder.h"
#include "tests/tools/program.h"

namespace switchyard::test {
namespace {

using testing::HasSubstr;

nlohmann::json plan(const std::string& options) {
  return nlohmann::json::parse(run_well("plan --json " + options));
}

Outcome refused(const std::string& options) {
  const Outcome outcome = run(words("plan " + options));
  EXPECT_NE(outcome.exit_code, 0) << outcome.out;
  return outcome;
}

TEST(Plan, NeedsNeitherRanksNorDataNorAGpu) {
  const auto all = plan("--preset gpt2-124m --global-batch-size 512 --micro-batch-size 64 --bf16");
  EXPECT_EQ(all.at("parameters"), 124'439'808);
  EXPECT_EQ(all.at("tokens_per_step"), 512 * 1024);
  ASSERT_EQ(all.at("stages").size(), 1u);
  EXPECT_GT(all.at("stages")[0].at("products").size(), 10u);
}

TEST(Plan, ListsEveryStageOfALargeLayout) {
  const auto all = plan(
      "--preset llama-7b --global-batch-size 256 --bf16 --world-size 256 --tp 8 --pp 4 --gpu h100");
  ASSERT_EQ(all.at("stages").size(), 4u);
  EXPECT_EQ(all.at("layout"), "tp 8 x pp 4 x dp 8");
  for (const auto& stage : all.at("stages")) EXPECT_GT(stage.at("memory_bytes"), 0);
}

TEST(Plan, SaysWhatCublasLtIsAskedForEveryProduct) {
  for (const char* model : {"gpt2-124m", "gpt3-1.3b", "llama-7b"}) {
    const auto all = plan(std::string("--global-batch-size 8 --bf16 --preset ") + model);
    for (const auto& product : all.at("stages")[0].at("products")) {
      EXPECT_THAT(product.at("cublaslt"), HasSubstr("D [")) << product.at("name");
    }
  }
}

TEST(Plan, RefusesWhatDoesNotFit) {
  const std::string seven = "--preset llama-7b --global-batch-size 32 --bf16 ";
  EXPECT_THAT(refused(seven + "--gpu h100").err, HasSubstr("a rank of stage 0 needs"));
  EXPECT_THAT(refused(seven + "--gpu h9000").err, HasSubstr("allowed: a100-40gb"));
  plan(seven + "--gpu h200");
  plan(seven + "--tp 8 --gpu 24");
}

// The same refusals as train's, before anything starts.
TEST(Plan, RefusesWhatTrainRefuses) {
  const std::string base = "--preset gpt2-124m --global-batch-size 8 ";
  EXPECT_THAT(refused(base + "--tp 5").err, HasSubstr("tp must divide it"));
  EXPECT_THAT(refused(base + "--pp 13").err, HasSubstr("every stage needs at least one layer"));
  EXPECT_THAT(refused(base + "--tp 2 --world-size 3").err, HasSubstr("a multiple of tp x pp"));
  EXPECT_THAT(refused(base + "--micro-batch-size 3").err, HasSubstr("a multiple of it is allowed"));
  EXPECT_THAT(refused(base + "--world-size 16").err, HasSubstr("at most one rank for each"));
  EXPECT_THAT(refused(base + "--distributed-timeout-minutes 0").err, HasSubstr("1 to 525600"));
  EXPECT_THAT(refused("--preset gpt2-124m").err, HasSubstr("--global-batch-size"));
  EXPECT_THAT(refused("--num-layers 2").err, HasSubstr("vocab"));
  EXPECT_THAT(refused(base + "--seq-length 4096").err, HasSubstr("1024 learned positions"));
}

// Of a path that exists, its own settings are planned, and what contradicts them is refused.
TEST(Plan, ReadsAPathAndChangesNothing) {
  const TemporaryFolder folder;
  const std::string prefix = make_tokens(folder.path(), "set", 20000);
  const std::string run = (folder.path() / "run").string();
  run_well("train " + run + " --data-path " + prefix +
           " --num-layers 2 --hidden-size 32 --num-attention-heads 2 --seq-length 16"
           " --global-batch-size 4 --lr 1e-3 --train-iters 1 --device cpu");
  const auto all = plan(run + " --tp 2");
  EXPECT_EQ(all.at("tokens_per_step"), 64);
  EXPECT_THAT(refused(run + " --hidden-size 64").err, HasSubstr("--hidden-size"));
  EXPECT_THAT(refused((folder.path() / "no").string()).err, HasSubstr("no path"));
}

}  // namespace
}  // namespace switchyard::test
