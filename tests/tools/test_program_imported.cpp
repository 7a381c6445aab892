// Paths that begin with published weights: what they train to, that they are killed and go on as
// others do, and what is said of them.
#include <gmock/gmock.h>

#include <csignal>
#include <fstream>

#include "tests/launch/path/imported_run.h"
#include "tests/tools/paths.h"
#include "tests/tools/refusal.h"

namespace fs = std::filesystem;

namespace switchyard::test {
namespace {

using testing::HasSubstr;
using testing::Not;

// "hf", of the weights that "first" has behind step 4, in fp32.
class ProgramImported : public testing::Test {
 protected:
  ProgramImported() {
    train(at("first"), tiny_path(data_, 4,
                                 "--num-layers 2 --hidden-size 32 --train-iters 4 "
                                 "--save-interval 2 --seq-length 32"));
    import_step(at("hf"), 7, at("first"), 4);
  }
  fs::path at(const std::string& name) const { return folder_.path() / name; }
  // Of a fork; `more` replaces the usual ones or adds to them.
  std::string options(const std::string& more = "") const {
    std::string line = " --data-path " + other_;
    for (const std::string usual :
         {" --lr 1e-3", " --lr-warmup-iters 4", " --global-batch-size 4"}) {
      if ((' ' + more).find(usual.substr(0, usual.rfind(' ') + 1)) == std::string::npos)
        line += usual;
    }
    return line + ' ' + more;
  }
  std::string fork(const std::string& from, const std::string& name,
                   const std::string& more = "") const {
    return run_well("fork " + at(from).string() + " " + at(name).string() + options(more));
  }
  static double loss_of(const fs::path& run, int64_t step) {
    for (const auto& line : metrics_of(run)) {
      if (line.at("step") == step) return line.at("loss");
    }
    ADD_FAILURE() << "step " << step << " is not in the log of " << run;
    return 0;
  }
  double score(const std::string& run, const std::string& data) const {
    const auto text = run_well("eval " + at(run).string() + " --json --data-path " + data);
    return nlohmann::json::parse(text).at("loss");
  }

  TemporaryFolder folder_;
  std::string data_ = make_tokens(folder_.path(), "text", 30'000);
  std::string other_ = make_tokens(folder_.path(), "other", 20'000, 2);
};

TEST_F(ProgramImported, APathBeginsWithTheWeightsAtStepZero) {
  fork("hf", "main");
  const auto path = RunFolder(at("main")).read();
  EXPECT_EQ(path.start_step(), 0);
  EXPECT_EQ(path.start_samples(), 0);
  ASSERT_TRUE(path.begins_with_weights());
  EXPECT_EQ(path.lineage.back().imported->step, 7);
  EXPECT_EQ(path.lineage.back().imported->files.at(1).sha256, std::string(64, 'a'));
  train(at("main"), "--train-iters 6 --save-interval 3");
  expect_whole_log(at("main"), 1, 6);
  EXPECT_EQ(metrics_of(at("main")).at(0).at("samples"), 4);
  EXPECT_NEAR(metrics_of(at("main")).at(0).at("learning_rate").get<double>(), 1e-3 / 4, 1e-12);
  // Step 1 reads what a new path of the same seed reads; its loss is that of the weights.
  fork("hf", "still", "--lr 0 --lr-warmup-iters 0");
  train(at("still"), "--train-iters 3 --save-interval 0");
  EXPECT_EQ(loss_of(at("main"), 1), loss_of(at("still"), 1));
  EXPECT_EQ(score("still", data_), score("hf", data_));
  EXPECT_EQ(score("main@0", data_), score("hf", data_));
  EXPECT_EQ(score("first", data_), score("hf", data_));
  EXPECT_NE(score("main", data_), score("hf", data_));
}

TEST_F(ProgramImported, AllLayoutsStartAlike) {
  fork("hf", "one");
  fork("hf", "two");
  fork("hf", "four");
  train(at("one"), "--train-iters 3 --save-interval 0");
  train(at("two"), "--train-iters 3 --save-interval 0", {.tp = 2});
  train(at("four"), "--train-iters 3 --save-interval 0", {.dp = 2, .pp = 2});
  expect_close_steps(at("one"), at("two"), 1, 3);
  expect_close_steps(at("one"), at("four"), 1, 3);
}

// Tensors in several precisions start as their values in fp32 do, and under bf16, too.
TEST_F(ProgramImported, EachTensorHasItsOwnPrecision) {
  import_step(at("mixed"), 0, at("first"), 4, {DType::bf16, DType::f16, DType::f32});
  run_well("average " + at("mixed").string() + "@0 --output " + at("wide").string());
  for (const std::string precision : {"", "--bf16"}) {
    const std::string a = "a" + precision, b = "b" + precision;
    fork("mixed", a, precision);
    fork("wide", b, precision);
    train(at(a), "--train-iters 2", {.tp = 2});
    train(at(b), "--train-iters 2", {.tp = 2});
    expect_same_tensors(checkpoint_of(at(a), 2), checkpoint_of(at(b), 2));
  }
  EXPECT_NEAR(score("mixed", data_), score("hf", data_), 2e-3);
}

TEST_F(ProgramImported, AKilledStartAndAStoppedOneGoOnBitForBit) {
  fork("hf", "whole");
  fork("hf", "parts");
  train(at("whole"), "--train-iters 8 --save-interval 4");
  const std::string forever = "train " + at("parts").string() + " --train-iters 400";
  {
    Program program(words(forever + " --save-interval 0"));
    ASSERT_TRUE(wait_until([&] { return fs::exists(at("parts") / "metrics.jsonl"); }, 60));
    kill(program.pid(), SIGKILL);
    program.wait();
  }
  EXPECT_TRUE(saved_steps(at("parts")).empty());
  train(at("parts"), "--train-iters 4");
  train(at("parts"), "--train-iters 8");
  expect_same_tensors(checkpoint_of(at("whole"), 8), checkpoint_of(at("parts"), 8));
  expect_same_steps(at("whole"), at("parts"), 1, 8);
  train(at("parts"), "--load-step 0 --train-iters 4");
  expect_same_tensors(checkpoint_of(at("whole"), 4), checkpoint_of(at("parts"), 4));
}

TEST_F(ProgramImported, StepsAreMadeAgainFromTheWeights) {
  fork("hf", "main");
  train(at("main"), "--train-iters 6 --save-interval 6");
  EXPECT_THAT(run_well("replay " + at("main").string() + "@1:5"),
              HasSubstr("from the published weights:\n5 under the same conditions: 0 differ"));
  run_well("fork " + at("main").string() + "@3 " + at("branch").string());
  train(at("branch"), "--train-iters 6");
  EXPECT_EQ(saved_steps(at("branch")), (std::vector<int64_t>{3, 6}));
  expect_same_tensors(checkpoint_of(at("main"), 6), checkpoint_of(at("branch"), 6));
  const auto lineage = RunFolder(at("branch")).read().lineage;
  ASSERT_EQ(lineage.size(), 2u);
  EXPECT_TRUE(lineage[0].imported);
  EXPECT_EQ(lineage[1].replayed->outcome, "exact");
  const auto text = run_well("inspect " + at("branch").string());
  EXPECT_THAT(text, HasSubstr("published weights: 'tiny-gpt2' (gpt2), step 7"));
  EXPECT_THAT(text, Not(HasSubstr("random start")));
  expect_refused("fork " + at("main").string() + "@0 " + at("again").string(),
                 {"begins with published weights", "fork", "hf@7"});
}

TEST_F(ProgramImported, SeveralCheckpointsAreAveragedAndForked) {
  import_step(at("hf"), 0, at("first"), 2, {DType::bf16});
  run_well("average " + at("hf").string() + " --steps 0,7 --output " + at("mean").string());
  const auto info = CheckpointReader(checkpoint_of(at("mean"), 7)).info();
  const auto weights = imported_weights_in(info);
  EXPECT_EQ(weights.mean_of.size(), 2u);
  EXPECT_EQ(weights.files.at(0).name, "tiny-gpt2@0/config.json");
  EXPECT_GT(score("mean", data_), 0);
  fork("mean", "main");
  train(at("main"), "--train-iters 2");
  const auto path = RunFolder(at("main")).read();
  EXPECT_EQ(path.lineage.back().imported->mean_of.size(), 2u);
  EXPECT_THAT(run_well("inspect " + at("main").string()),
              HasSubstr("the mean of 2 checkpoints of 'tiny-gpt2' (gpt2)"));
  EXPECT_THAT(run_well("inspect " + at("mean").string()), HasSubstr("7/model.safetensors"));
  expect_refused("train " + at("mean").string(), {"is an average", "fork", "--data-path"});
}

TEST_F(ProgramImported, WhatIsSaidOfThem) {
  const std::string hf = at("hf").string();
  fork("hf", "main");
  train(at("main"), "--train-iters 2");
  const auto text = run_well("inspect " + hf + " --verify");
  EXPECT_THAT(text, HasSubstr("published weights, which paths begin with"));
  EXPECT_THAT(text, HasSubstr("sha256 " + std::string(64, 'a')));
  EXPECT_THAT(text, HasSubstr("step 7 for"));
  const auto all = nlohmann::json::parse(run_well("inspect " + hf + " --json"));
  EXPECT_EQ(all.at("kind"), "imported");
  EXPECT_EQ(all.at("import").at("model"), "tiny-gpt2");
  EXPECT_TRUE(all.at("learning_rate").is_null());
  const auto listed = run_well("list " + folder_.path().string());
  EXPECT_THAT(listed, HasSubstr("imported"));
  EXPECT_THAT(listed, HasSubstr("@7 main"));
  EXPECT_THAT(run_well("generate " + hf + " --prompt abc --max-new-tokens 4"), Not(HasSubstr("!")));
  run_well("report " + folder_.path().string() + " --output " + at("page.html").string());
  std::ifstream page(at("page.html"));
  const std::string html(std::istreambuf_iterator<char>(page), {});
  EXPECT_THAT(html, HasSubstr("\"imported\":\"'tiny-gpt2' (gpt2), step 7\""));
  const auto same = run({"compare", hf + "@7", at("first").string() + "@4", "--weights", "model"});
  EXPECT_EQ(same.exit_code, 0) << same.out << same.err;
}

// As where it may only be read: root may write everywhere.
TEST_F(ProgramImported, WeightsThatCannotBePinnedAreForkedAllTheSame) {
  std::ofstream(at("hf") / "pins") << "in the way";
  const auto forked =
      run(words("fork " + at("hf").string() + " " + at("main").string() + options()));
  EXPECT_EQ(forked.exit_code, 0);
  EXPECT_THAT(forked.err, HasSubstr("nothing keeps step 7"));
  train(at("main"), "--train-iters 2");
  EXPECT_EQ(saved_steps(at("main")), (std::vector<int64_t>{2}));
}

TEST_F(ProgramImported, TheSameForkAgainIsThereAlready) {
  fork("hf", "main");
  const auto before = contents_of(at("main"));
  fork("hf@7", "main");
  EXPECT_TRUE(contents_of(at("main")) == before);
  const std::string again = "fork " + at("hf").string() + " " + at("main").string();
  expect_refused(again + options("--seed 5"), {"exists already", "--seed 1234, not 5"});
  expect_refused("fork " + at("first").string() + "@4 " + at("main").string(),
                 {"exists already", "begins at step 7"});
  import_step(at("hf"), 9, at("first"), 2);
  expect_refused(again + options(), {"has 2 checkpoints", "7, 9", "hf@STEP"});
  run_well("prune " + at("hf").string() + " --keep-checkpoints 1 --yes");
  EXPECT_EQ(saved_steps(at("hf")), (std::vector<int64_t>{7, 9}));  // one is a fork point
}

}  // namespace
}  // namespace switchyard::test
