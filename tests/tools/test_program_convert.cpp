// Published models through the whole program: paths of all kinds out, killed conversions, means of
// published checkpoints, and what is refused of the command line.
#include <gmock/gmock.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <thread>

#include "core/files.h"
#include "tests/golden/published_file.h"
#include "tests/tools/program.h"
#include "tests/tools/refusal.h"

namespace fs = std::filesystem;

namespace switchyard::test {
namespace {

class ProgramConvert : public testing::Test {
 protected:
  std::string at(const std::string& name) const { return (folder.path() / name).string(); }
  void publish(const std::string& name, const std::string& as, const std::string& salt = "") const {
    write_published(read_published(name), at(as), salt);
  }
  double loss_of(const std::string& run, const std::string& more = "") const {
    return nlohmann::json::parse(
        run_well("eval " + run + " --data-path " + tokens + " --json" + more))["loss"];
  }

  TemporaryFolder folder;
  std::ptrdiff_t entries = 0;
  const std::string tokens = make_tokens(folder.path(), "text", 6000);
};

// Trained over tp x pp x dp in bf16 with an average beside it; what goes out and comes in again has
// the same loss.
TEST_F(ProgramConvert, PathsOfAnyLayoutAndGroupsOfWeightsGoOutAndIn) {
  run_well("train " + at("main") + " --data-path " + tokens +
               " --num-layers 2 --hidden-size 32 --num-attention-heads 4 --num-query-groups 2"
               " --disable-bias-linear --add-qkv-bias --normalization RMSNorm --swiglu"
               " --position-embedding-type rope --use-rope-scaling --seq-length 32"
               " --global-batch-size 4 --lr 1e-2 --bf16 --tp 2 --pp 2"
               " --average ema:beta=0.5,every=1 --save-interval 10 --train-iters 10",
           4);
  const std::string group = "average/ema";
  const auto groups = run_well("inspect " + at("main") + "@10");
  ASSERT_THAT(groups, testing::HasSubstr(group));
  run_well("convert --from " + at("main") + " --to " + at("raw"));
  run_well("convert --from " + at("main") + "@10 --to " + at("mean") + " --weights " + group +
           " --dtype f32");
  for (const char* name : {"raw", "mean"}) {
    EXPECT_THAT(read_file(at(name) + "/config.json"), testing::HasSubstr("\"qwen2\""));
    run_well("convert --from " + at(name) + " --to " + at(name) + "-again --seq-length 32");
  }
  EXPECT_NEAR(loss_of(at("raw-again")), loss_of(at("main"), " --weights model"), 2e-3);
  EXPECT_NEAR(loss_of(at("mean-again")), loss_of(at("main"), " --weights " + group), 2e-3);
}

// Killed at later and later instants, until it is done: what has the name is whole.
TEST_F(ProgramConvert, WhatIsKilledLeavesNoFolderOfTheName) {
  publish("gpt2_vocabulary", "hf");
  const auto kill_until_there = [&](const std::string& line, const std::string& made) {
    for (int i = 0; i < 12 && !fs::exists(made); ++i) {
      Program convert(words(line));
      std::this_thread::sleep_for(std::chrono::milliseconds(25 * i));
      kill(convert.pid(), SIGKILL);
      convert.wait();
    }
    if (!fs::exists(made)) run_well(line);
    EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), ++entries);
  };
  entries = std::distance(fs::directory_iterator(folder.path()), {});
  kill_until_there("convert --from " + at("hf") + " --to " + at("run"), at("run"));
  run_well("inspect " + at("run") + "@0 --verify");
  kill_until_there("convert --from " + at("run") + " --to " + at("out"), at("out"));
  EXPECT_THAT(run_well("convert --from " + at("out") + " --to " + at("again")), testing::IsEmpty());
}

TEST_F(ProgramConvert, PublishedStepsAreAveraged) {
  for (const char* step : {"10", "20", "30", "40", "50"}) {
    publish("gpt_neox_wide_heads", std::string("step") + step, step);
  }
  const auto lawa = [&](const std::string& settings) {
    const std::string script =
        "SWITCHYARD=" SWITCHYARD_PROGRAM " " SWITCHYARD_SOURCE "/launch/published_lawa " +
        at("run") + " '" + at("step{}") + "' " + settings + " >/dev/null 2>" + at("said");
    return WEXITSTATUS(std::system(script.c_str()));
  };
  const auto expect_refusal = [&](const std::string& settings, const std::string& text) {
    EXPECT_EQ(lawa(settings), 2) << settings;
    EXPECT_THAT(read_file(at("said")), testing::HasSubstr(text));
  };
  expect_refusal("10:50:0 3 " + tokens, "EVERY is 0; 1 or more");
  expect_refusal("50:10:10 3 " + tokens, "FIRST 50 is above LAST 10");
  expect_refusal("10:50:10 1 " + tokens, "K 1; a mean is of 2 or more");
  expect_refusal("10,30,20 3 " + tokens, "20 is not above");
  EXPECT_FALSE(fs::exists(at("run")));
  ASSERT_EQ(lawa("10,20,30 3 " + tokens), 0);
  ASSERT_EQ(lawa("10:50:10 3 " + tokens), 0);  // further steps
  const std::string scores = read_file(at("run-lawa-3/scores.tsv"));
  EXPECT_EQ(std::count(scores.begin(), scores.end(), '\n'), 5);
  EXPECT_THAT(scores, testing::HasSubstr("\t-\n"));
  run_well("average " + at("run") + " --steps 30:50:10 --output " + at("mean"));
  EXPECT_EQ(loss_of(at("run-lawa-3/50")), loss_of(at("mean")));
  ASSERT_EQ(lawa("10,20,30,40 3 " + tokens), 0);  // nothing is made again
  expect_refusal("20:50:10 3 " + tokens, "was made with steps 10:50:10, not 20:50:10");
  expect_refusal("10,20,40 3 " + tokens, "was made with steps 10:50:10, not 10,20,40");
  expect_refusal("10:50:10 3 " + at("other"),
                 "has scores on " + fs::canonical(folder.path()).string());
  EXPECT_EQ(read_file(at("run-lawa-3/scores.tsv")), scores);
  run_well("convert --from " + at("mean") + " --to " + at("out") + " --dtype f16");
  EXPECT_THAT(read_file(at("out") + "/config.json"), testing::HasSubstr("\"float16\""));
}

// A tokenizer that came with the weights is not ours; what came beside them outlives the imported
// run, and that may be imported once more.
TEST_F(ProgramConvert, PathsKeepWhatCameBesideTheirWeights) {
  publish("gpt_neox_wide_heads", "hf");
  write_file_atomically(at("hf") + "/tokenizer.json", "{}");
  const std::string in = "convert --from " + at("hf") + " --to " + at("run") + " --seq-length 32";
  run_well(in);
  const std::string options = " --lr 1e-3 --global-batch-size 4 --data-path ";
  expect_refused("fork " + at("run") + " " + at("main") + options + tokens,
                 {"made by the tokenizer 'byte'", "the weights' is 'huggingface:"});
  expect_refused("generate " + at("run") + " --prompt x", {"which is not read here"});
  for (const char* end : {".bin", ".idx"}) fs::copy(tokens + end, at("bare") + end);
  run_well("fork " + at("run") + " " + at("main") + options + at("bare"));
  run_well("train " + at("main") + " --train-iters 2");
  fs::remove_all(at("run"));
  run_well("convert --from " + at("main") + " --to " + at("out"));
  EXPECT_EQ(read_file(at("out") + "/tokenizer.json"), "{}");
  EXPECT_THAT(read_file(at("out") + "/config.json"), testing::HasSubstr("\"bos_token_id\": 0"));
  run_well(in);
  run_well("eval " + at("main") + "@0 --data-path " + at("bare"));
  run_well("train " + at("main") + " --load-step 0 --train-iters 1");
  run_well("fork " + at("run") + " " + at("main") + options + at("bare"));  // it is so already
}

TEST_F(ProgramConvert, ACommandLineThatCannotBe) {
  publish("qwen2", "hf");
  const std::string in = "convert --from " + at("hf") + " --to " + at("run");
  expect_refused("convert --to " + at("run"), {"--from is missing"});
  expect_refused("convert --from " + at("hf"), {"--to is missing"});
  expect_refused("convert --from " + at("none") + " --to " + at("run"),
                 {"neither config.json nor path.json"});
  expect_refused(in + " --dtype f64", {"--dtype f64", "f32, bf16 or f16"});
  expect_refused(in + " --tokenizer " + at("hf"), {"--tokenizer", "an export"});
  expect_refused(in + " --step -1", {"--step -1"});
  expect_refused(in + " --memory 0", {"--memory 0"});
  expect_refused(in + " --seq-length 0", {"--seq-length 0"});
  run_well(in);
  const std::string out = "convert --from " + at("run") + " --to " + at("out");
  expect_refused(out + " --step 3", {"--step 3", "an import"});
  expect_refused(out + " --max-shard-size 5XB", {"--max-shard-size 5XB", "5GB, 500MB or 2GiB"});
  expect_refused(out + " --max-shard-size 0GB", {"--max-shard-size 0GB"});
  expect_refused(out + " --architecture bloom", {"--architecture bloom", "gpt2", "qwen2"});
  expect_refused("convert --from " + at("run") + "@7 --to " + at("out"), {"step 7"});
  EXPECT_FALSE(fs::exists(at("out")));
}

}  // namespace
}  // namespace switchyard::test
