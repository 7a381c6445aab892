#include <gmock/gmock.h>

#include "tests/support/temporary_folder.h"
#include "tests/tools/program.h"

namespace switchyard::test {
namespace {

using testing::HasSubstr;
using testing::MatchesRegex;

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

TEST(Plan, CountsTheMemoryOfAverages) {
  const std::string options = "--preset gpt2-124m --bf16 --world-size 2 --average ";
  const auto bytes = [&](const std::string& averages) {
    const auto all = plan(options + averages);
    return all.at("stages")[0].at("memory").at("averages").get<double>() / 124'439'808;
  };
  EXPECT_NEAR(bytes("ema:beta=0.9,every=9"), 4 / 2.0, 0.01);
  EXPECT_NEAR(bytes("lawa:k=5,every=9 running"), (4 + 4 * 5 + 4 + 8) / 2.0, 0.1);
  EXPECT_THAT(refused("--preset gpt2-124m --average mean").err, HasSubstr("'mean' is no kind"));
}

TEST(Plan, CountsTheHostMemoryOfASave) {
  const std::string options = "--preset gpt2-124m --bf16 --world-size 2 ";
  const auto bytes = [&](const std::string& more) {
    return plan(options + more).at("stages")[0].at("save_copy_bytes").get<double>();
  };
  EXPECT_NEAR(bytes("") / 124'439'808, 14 / 2.0, 0.02);
  EXPECT_NEAR(bytes("--average ema:beta=0.9,every=9") / 124'439'808, 18 / 2.0, 0.02);
  EXPECT_EQ(bytes("--save-staging-gib 0.25"), 1 << 28);
  EXPECT_EQ(bytes("--no-async-save"), 0);
  EXPECT_THAT(run_well("plan " + options),
              HasSubstr("0.811 GiB  of host memory besides: the copy that a save writes"));
  EXPECT_THAT(run_well("plan " + options + "--no-async-save"),
              testing::Not(HasSubstr("host memory besides")));
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
  EXPECT_THAT(refused(seven + "--gpu h9000").err, HasSubstr("allowed: a100-40"));
  EXPECT_THAT(refused(seven + "--gpu 24").err, HasSubstr("80GiB"));
  plan(seven + "--gpu h200");
  plan(seven + "--tp 8 --gpu 24GiB");
}

// The table is there before the error, and the verdict is its last line.
TEST(Plan, SaysTheVerdictWithTheCapacityBehindTheTable) {
  const std::string seven = "plan --preset llama-7b --bf16 ";
  const std::string fits = run_well(seven + "--gpu H100 --tp 2");
  EXPECT_THAT(fits, MatchesRegex("(.|\n)*GiB  together(.|\n)*\nfits H100: 66.4 of 79.1 GiB\n"));
  const Outcome outcome = run(words(seven + "--gpu a100-40 --tp 2"));
  EXPECT_NE(outcome.exit_code, 0);
  EXPECT_THAT(outcome.out, HasSubstr("GiB  together"));
  EXPECT_THAT(outcome.err, HasSubstr("does not fit a100-40: a rank of stage 0 needs 66.4 of 39.4"));
}

TEST(Plan, NeedsNoMoreThanAPresetAndSaysWhatItAssumes) {
  const auto all = plan("--preset gpt2-124m --world-size 8 --pp 2 --micro-batch-size 4");
  EXPECT_EQ(all.at("tokens_per_step"), 4 * 2 * 4 * 1024);
  const std::string text = all.at("assumed").dump();
  for (const char* part :
       {"--seq-length 1024 (the preset's)", "--vocab-size 50257",
        "--global-batch-size 32 (a micro-batch for each stage of each replica)", "fp32"}) {
    EXPECT_THAT(text, HasSubstr(part));
  }
  EXPECT_THAT(run_well("plan --preset gpt2-124m"), HasSubstr("assumed: --micro-batch-size 1\n"));
  const auto given = plan(
      "--preset gpt2-124m --seq-length 512 --vocab-size 300 --micro-batch-size 2 "
      "--global-batch-size 8 --bf16");
  EXPECT_EQ(given.at("assumed").size(), 0u);
}

TEST(Plan, HelpListsPresetsAndGpus) {
  const std::string help = run_well("plan --help");
  for (const char* name : {"gpt2-124m", "pythia-small-cpu", "rtx4090", "h200", "80GiB"}) {
    EXPECT_THAT(help, HasSubstr(name));
  }
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
  EXPECT_THAT(refused(run + " --load-step 2").err, HasSubstr("nearest saved step is 1"));
  plan(run + " --load-step 1");
  EXPECT_THAT(refused(run + " --distributed-timeout-minutes 0").err, HasSubstr("1 to 525600"));
  EXPECT_THAT(refused("--preset gpt2-tiny --load-step 1").err, HasSubstr("without a path"));
  const std::string fresh = (folder.path() / "new").string() + " --preset gpt2-tiny --lr 1 ";
  plan(fresh + "--data-path " + prefix);  // as train would make it
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "new"));
}

}  // namespace
}  // namespace switchyard::test
