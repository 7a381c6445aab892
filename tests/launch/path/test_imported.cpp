// Published weights: how they are written and read, and what a path that begins with them is.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "launch/path/imported.h"
#include "launch/path/pins.h"
#include "launch/path/replay_plan.h"
#include "tests/launch/path/imported_run.h"
#include "tests/launch/path/saved_path.h"
#include "tests/launch/path/specification_test.h"

namespace switchyard {
namespace {

using test::published;
using test::SpecificationTest;
using testing::HasSubstr;

class ImportedTest : public SpecificationTest {
 protected:
  static GptConfig model() {
    GptConfig model = preset("llama-tiny");
    model.vocabulary = 300;
    return model;
  }
  static LineageEntry begin(int64_t step = 1000) {
    LineageEntry entry{"../hf", "id", 0, 0, 0};
    entry.imported = published(step);
    entry.imported->step = step;
    return entry;
  }
  Settings training(std::vector<std::string> more = {}) {
    std::vector<std::string> line = {"--global-batch-size", "8", "--lr", "1e-3"};
    line.insert(line.end(), more.begin(), more.end());
    line.insert(line.end(), {"--data-path", new_});
    return given(line);
  }
  PathSpecification weights_ = imported_path(model(), 64, "byte");
};

TEST_F(ImportedTest, TheyHaveAModelAndNoTraining) {
  const auto read = PathSpecification::from_json(weights_.to_json(), "test");
  EXPECT_EQ(read.to_json(), weights_.to_json());
  EXPECT_EQ(read.kind, "imported");
  EXPECT_EQ(read.model, model().completed());
  EXPECT_EQ(read.sequence_length(), 64);
  EXPECT_FALSE(read.has_training_options());
  EXPECT_EQ(read.samples_at(1000), 0);
  EXPECT_EQ(read.tokens_at(1000), 0);
  auto mean = weights_;
  mean.kind = "average";
  EXPECT_FALSE(PathSpecification::from_json(mean.to_json(), "test").has_training_options());
  for (const char* kind : {"imported", "average"}) {
    auto wrong = nlohmann::ordered_json::parse(weights_.to_json());
    wrong["kind"] = kind;
    wrong["options"].erase("seq-length");
    EXPECT_THAT(error_of([&] { PathSpecification::from_json(wrong.dump(), "test"); }),
                HasSubstr("no option 'seq-length'"));
  }
  auto wrong = nlohmann::ordered_json::parse(weights_.to_json());
  wrong["kind"] = "path";
  EXPECT_THAT(error_of([&] { PathSpecification::from_json(wrong.dump(), "test"); }),
              HasSubstr("no option 'global-batch-size'"));
}

TEST_F(ImportedTest, APathBeginsWithThemAtStepZero) {
  const auto path = fork_path(
      weights_, begin(),
      training({"--bf16", "--seed", "5", "--hidden-dropout", "0.1", "--lr-warmup-iters", "10"}));
  EXPECT_EQ(path.kind, "path");
  EXPECT_EQ(path.start_step(), 0);
  EXPECT_EQ(path.sequence_length(), 64);  // the weights'
  EXPECT_EQ(path.dtype(), DType::bf16);
  EXPECT_EQ(path.model.hidden_dropout, 0.1);
  EXPECT_EQ(path.model.vocabulary, 300);
  EXPECT_EQ(path.seeds.initial(), 5u);
  EXPECT_EQ(learning_rate(path.schedule, 1), 1e-4);
  EXPECT_TRUE(path.begins_with_weights());
  EXPECT_FALSE(path.has_random_start());
  EXPECT_EQ(path.lineage.back().saved_step(), 1000);
  EXPECT_EQ(path.samples_at(3), 24);
  const auto read = PathSpecification::from_json(path.to_json(), "test");
  EXPECT_EQ(read.to_json(), path.to_json());
  EXPECT_EQ(difference(read, path), "");
  // A new path of the same model reads the same samples at the same rates.
  auto same =
      training({"--bf16", "--seed", "5", "--hidden-dropout", "0.1", "--lr-warmup-iters", "10",
                "--preset", "llama-tiny", "--vocab-size", "300", "--seq-length", "64"});
  const auto scratch = new_path(same);
  EXPECT_EQ(scratch.schedule, path.schedule);
  EXPECT_EQ(scratch.settings, path.settings);
  EXPECT_EQ(scratch.stages.back().sources.back().identity,
            path.stages.back().sources.back().identity);
  EXPECT_THAT(difference(scratch, path), HasSubstr("begins at a random start, not at step 1000"));
  EXPECT_THAT(difference(path, fork_path(weights_, begin(2000), training({"--bf16"}))),
              HasSubstr("--hidden-dropout"));
}

TEST_F(ImportedTest, ABranchOfAPathFromThemSaysSo) {
  const auto main = fork_path(weights_, begin(), training());
  const LineageEntry fork{"../main", "other", 10, 80, 5120};
  const auto branch = fork_path(main, fork, given({"--lr", "1e-4"}));
  const auto read = PathSpecification::from_json(branch.to_json(), "test");
  ASSERT_EQ(read.lineage.size(), 2u);
  EXPECT_EQ(read.lineage[0].imported->files.at(1).sha256, std::string(64, 'a'));
  EXPECT_EQ(read.lineage[0].imported->files.at(1).bytes, 2000);
  EXPECT_EQ(read.lineage[0].imported->step, 1000);
  EXPECT_FALSE(read.begins_with_weights());
  auto wrong = nlohmann::ordered_json::parse(main.to_json());
  wrong["lineage"][0]["step"] = 3;
  EXPECT_THAT(error_of([&] { PathSpecification::from_json(wrong.dump(), "test"); }),
              HasSubstr("at step 0"));
}

TEST_F(ImportedTest, DocumentsSayWhatACheckpointHolds) {
  CheckpointInfo info;
  info.step = 7;
  EXPECT_THAT(error_of([&] { imported_weights_in(info); }), HasSubstr("no document 'import'"));
  info.documents[import_document] = R"({"model": "m"})";
  EXPECT_THAT(error_of([&] { imported_weights_in(info); }), HasSubstr("architecture"));
  info.documents[import_document] = json_text(imported_json(published(7)));
  const auto read = imported_weights_in(info);
  EXPECT_EQ(read.step, 7);
  EXPECT_EQ(describe(read), "'tiny-gpt2' (gpt2), step 7");
  const auto mean = imported_mean({read, read}, {"a", "b"});
  EXPECT_EQ(imported_from(imported_json(mean)).mean_of, mean.mean_of);
  EXPECT_EQ(mean.files.size(), 4u);
}

// The pin of a path that begins with weights counts by their own step.
TEST_F(ImportedTest, PinsKeepTheStepOfTheWeights) {
  const RunFolder hf(folder_.path() / "hf"), main(folder_.path() / "main");
  hf.write(weights_);
  for (const int64_t step : {0, 1000}) test::save(hf, step);
  main.write(fork_path(weights_, begin(), training()));
  write_pin(hf.folder(), 1000, "id", main.folder());
  write_pin(hf.folder(), 0, "id", main.folder());
  for (const Pin& pin : read_pins(hf.folder())) EXPECT_EQ(pin.counts, pin.step == 1000) << pin.step;
  EXPECT_TRUE(hf.has(0));
  EXPECT_EQ(hf.checkpoint(0).step, 0);
}

}  // namespace
}  // namespace switchyard
