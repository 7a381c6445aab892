// Published weights: what is refused of them and of the paths that begin with them.
#include <gmock/gmock.h>

#include "core/files.h"
#include "tests/launch/path/imported_run.h"
#include "tests/tools/bad_paths.h"
#include "tests/tools/paths.h"

namespace fs = std::filesystem;

namespace switchyard::test {
namespace {

// "hf" has the weights of step 4 of "main": 2 layers of 16 channels, 16 learned positions.
class BadImported : public BadPaths {
 protected:
  BadImported() { import_step(hf(), 3, main(), 4); }
  std::string hf() const { return folder.at("hf"); }
  std::string options() const {
    return "--data-path " + folder.at("b") + " --lr 1e-3 --global-batch-size 4 ";
  }
  // The fork is refused, makes nothing and leaves the weights as they were.
  void refuse_weights(const std::string& more, const Parts& parts, int code = 2) {
    const auto before = folder.contents("hf");
    refuse_fork("hf", more, parts, code);
    EXPECT_TRUE(folder.contents("hf") == before) << more;
  }
};

TEST_F(BadImported, AForkTakesWhatANewPathTakes) {
  refuse_weights("", {"needs --data-path, --lr, --global-batch-size", "no training options"});
  refuse_weights("--data-path " + folder.at("b") + " --lr 1e-3",
                 {"needs --global-batch-size, as a new path does"});
  refuse_weights(options() + "--hidden-size 32", {"--hidden-size 32", "the weights have 16"});
  refuse_weights(options() + "--preset gpt2-tiny", {"--preset gpt2-tiny", "leave it out"});
  refuse_weights(options() + "--vocab-size 512", {"--vocab-size 512", "the weights have 257"});
  refuse_weights(options() + "--seq-length 17", {"--seq-length 17 with 16 learned positions"});
  refuse_weights(options() + "--lr-decay-style cosine", {"without --lr-decay-iters"});
  refuse_weights(options() + "--hysteresis 3", {"--hysteresis 3", "with --fp16"});
  refuse_weights(options() + "--moments newest", {"--moments newest", "fresh is allowed"});
  refuse_weights(options() + "--skip-samples 5:5", {"--skip-samples 5:5"});
  refuse_weights(options() + "--init-method-std 1", {"--init-method-std 1", "have 0.02"});
  refuse_weights("--data-path " + folder.at("none") + " --lr 1 --global-batch-size 4", {"none"});
}

TEST_F(BadImported, TheDataFitTheVocabularyAndTokenizer) {
  auto path = RunFolder(hf()).read();
  path.tokenizer = "gpt2";
  RunFolder(hf()).write(path);
  refuse_weights(options(), {"made by the tokenizer 'byte'", "the weights' is 'gpt2'"});
  path.settings.set_text("vocab-size", "200");
  RunFolder(hf()).write(path);
  refuse_weights(options(), {"has a vocabulary of 257", "the weights have 200"});
}

TEST_F(BadImported, TheyHaveNoStepsOfTheirOwn) {
  expect_refused("train " + hf(), {"'" + hf() + "' is published weights", "never trained on",
                                   "fork " + hf() + " NEW --data-path"});
  expect_refused("extend " + hf() + " --at-step 5 --data-path " + folder.at("b"),
                 {"is published weights; it is never trained on"});
  expect_refused("replay " + hf() + "@1:3", {"is published weights; it has no steps"});
  expect_refused("compare " + main() + " " + hf(),
                 {"'" + hf() + "' is published weights", "no steps",
                  "'compare " + main() + "@STEP " + hf() + "@STEP' compares weights"});
  expect_refused("plan " + hf(), {"is published weights; it is never trained on"});
  expect_refused("eval " + hf() + "@0 --data-path " + folder.at("b"), {"step 0", "not saved", "3"});
  auto path = RunFolder(hf()).read();
  path.tokenizer = "";
  RunFolder(hf()).write(path);
  expect_refused("generate " + hf() + " --prompt a", {"the tokenizer of", "unknown"});
}

TEST_F(BadImported, StepZeroIsTheWeights) {
  run_well("fork " + hf() + " " + folder.at("new") + " " + options());
  run_well("train " + folder.at("new") + " --train-iters 2");
  for (const std::string& command :
       {std::string("generate --prompt a "), "compare " + main() + "@2 "}) {
    expect_refused(command + folder.at("new") + "@0",
                   {"step 0", "the published weights that it begins with", "step 3 of '" + hf(),
                    "'eval " + folder.at("new") + "@0' scores them"});
  }
  run_well("fork " + folder.at("new") + "@2 " + folder.at("branch") + " --lr 1e-4");
  expect_refused("generate --prompt a " + folder.at("branch") + "@0",
                 {"'" + folder.at("branch") + "' begins at step 2",
                  "forked from, '" + folder.at("new") + "'"});
  expect_refused("replay " + folder.at("branch") + "@1:2",
                 {"begins behind step 2", "its parent's, '" + folder.at("new") + "'"});
  expect_refused("fork " + folder.at("new") + "@1 " + folder.at("branch"),
                 {"exists already", "step 2 of '" + folder.at("new") + "'"});
  // The weights are gone: nothing goes on from them.
  fs::rename(hf(), folder.at("away"));
  fs::remove_all(folder.at("away") + "/checkpoints");
  expect_refused("train " + folder.at("new") + " --load-step 0 --train-iters 2", {"step 3"});
  run_well("train " + folder.at("new") + " --train-iters 3");
}

TEST_F(BadImported, AFolderOfHuggingFaceIsNoRun) {
  fs::create_directories(folder.at("published"));
  write_file_atomically(folder.at("published") + "/config.json", "{}");
  for (const std::string& command :
       {"inspect " + folder.at("published"), "generate --prompt a " + folder.at("published"),
        "fork " + folder.at("published") + " " + folder.at("new") + " " + options()}) {
    expect_refused(command, {"no path.json", "as a Hugging Face folder has",
                             "'convert --from " + folder.at("published") + " --to RUN'"});
  }
}

TEST_F(BadImported, DamagedWeightsAreNotTrainedOn) {
  run_well("fork " + hf() + " " + folder.at("new") + " " + options());
  const fs::path shard = checkpoint_of(hf(), 3) / "shards" / "rank-00000.h5";
  std::string bytes = read_file(shard);
  const auto weights = tensors_of(checkpoint_of(hf(), 3)).at("/model/layers.1.mlp.up.weight");
  const size_t place = bytes.find(std::string(weights.begin(), weights.begin() + 64));
  ASSERT_NE(place, std::string::npos);
  bytes[place] = static_cast<char>(bytes[place] ^ 1);
  write_file_atomically(shard, bytes);
  expect_refused("train " + folder.at("new") + " --train-iters 2",
                 {"damaged", "begins with the weights of step 3 of", "hf"}, 1, 5);
  refuse_fork("hf", options(), {"damaged", "step 3"}, 5);
}

TEST_F(BadImported, ACheckpointSaysWhatItHolds) {
  CheckpointInfo info;
  info.step = 8;
  CheckpointStreamWriter writer(RunFolder(hf()).checkpoints(), info);
  const float value = 1;
  writer.add({"/model/x", {1}, DType::f32}, &value);
  writer.finish();
  refuse_fork("hf@8", options(), {"step 8", "no document 'import'"}, 5);
  refuse_fork("hf@9", options(), {"step 9", "is not saved", "8"});
  refuse_fork("hf", options(), {"has 2 checkpoints", "3, 8", "hf@STEP"});
}

}  // namespace
}  // namespace switchyard::test
