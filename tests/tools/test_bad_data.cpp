// Damaged, foreign and missing token sets and texts, by every command that reads them.
#include <gmock/gmock.h>

#include <fstream>

#include "tests/data/reference_set.h"
#include "tests/tools/program.h"
#include "tests/tools/refusal.h"

namespace fs = std::filesystem;

namespace switchyard::test {
namespace {

class BadData : public testing::Test {
 protected:
  using Parts = std::vector<std::string>;

  ReferenceSet good_set() const {
    ReferenceSet set(8, {std::vector<int64_t>(200, 7), std::vector<int64_t>(200, 8)});
    set.json = R"({"tokenizer": "byte", "vocabulary_size": 257, "end_of_document": 256})";
    return set;
  }
  void refuse(const Parts& parts) {
    expect_refused(folder.train("new", {{"data-path", folder.at("set")}}), parts);
    EXPECT_FALSE(fs::exists(folder.at("new")));
  }
  void refuse_tokenize(const std::string& line, const Parts& parts) {
    expect_refused("tokenize --output-prefix " + folder.at("made") + " " + line, parts);
    for (const auto& entry : fs::directory_iterator(folder.at(""))) {
      EXPECT_FALSE(entry.path().filename().string().starts_with("made")) << entry.path();
    }
  }

  RefusalFolder folder;
};

TEST_F(BadData, SetsThatAreNotWhole) {
  good_set().write(folder.at("set"));
  run_well(folder.train("good", {{"data-path", folder.at("set")}}));

  fs::resize_file(folder.at("set.bin"), 399);
  refuse({"set.bin"});
  fs::remove(folder.at("set.bin"));
  refuse({"set.bin", "No such file"});

  good_set().write(folder.at("set"));
  fs::resize_file(folder.at("set.idx"), fs::file_size(folder.at("set.idx")) - 3);
  refuse({"set.idx"});
  fs::resize_file(folder.at("set.idx"), 5);
  refuse({"set.idx"});
  fs::remove(folder.at("set.idx"));
  refuse({"set.idx", "No such file"});
}

TEST_F(BadData, SetsThatSaySomethingElse) {
  auto set = good_set();
  set.magic[0] = 'X';
  set.write(folder.at("set"));
  refuse({"set.idx"});
  set = good_set();
  set.version = 2;
  set.write(folder.at("set"));
  refuse({"set.idx", "2"});
  set = good_set();
  set.lengths[1] = 300;
  set.write(folder.at("set"));
  refuse({"set"});
  set = good_set();
  set.json = "{";
  set.write(folder.at("set"));
  refuse({"set.json"});
  set = good_set();
  set.json = R"({"tokenizer": "other", "vocabulary_size": 300})";
  set.write(folder.at("set"));
  expect_refused(
      folder.train("new", {{"data-path", "0.5 " + folder.at("a") + " 0.5 " + folder.at("set")}}),
      {"'byte'", "'other'"});
}

TEST_F(BadData, TokensBeyondTheVocabulary) {
  std::vector<int64_t> tokens(400, 7);
  tokens[203] = 299;
  ReferenceSet(8, {tokens}).write(folder.at("set"));
  refuse({"set", "--vocab-size"});
  expect_refused(folder.train("new", {{"data-path", folder.at("set")}, {"train-iters", "50"}},
                              "--vocab-size 299"),
                 {"set.bin", "299", "203"});
  EXPECT_FALSE(fs::exists(folder.at("new")));
  run_well(folder.train("run"));
  const std::string data = " --data-path " + folder.at("set");
  expect_refused("fork " + folder.at("run") + "@2 " + folder.at("branch") + data,
                 {"set.bin", "299", "203"});
  expect_refused("extend " + folder.at("run") + " --at-step 2" + data, {"set.bin", "299", "203"});
  EXPECT_FALSE(fs::exists(folder.at("branch")));
  expect_refused(
      "train " + folder.at("run") + " --train-iters 4 --eval-interval 4 --valid-" + data.substr(3),
      {"set.bin", "299", "203"});
  EXPECT_EQ(metrics_of(folder.at("run")).size(), 2u);
  expect_refused("eval " + folder.at("run") + " --data-path " + folder.at("set"),
                 {"set.bin", "299", "203"});
}

TEST_F(BadData, EvaluationRefusesAnotherTokenizer) {
  run_well(folder.train("run"));
  auto set = good_set();
  set.json = R"({"tokenizer": "other", "vocabulary_size": 100})";
  set.write(folder.at("set"));
  expect_refused("eval " + folder.at("run") + " --data-path " + folder.at("set"),
                 {"'other'", "'byte'"});
  expect_refused("train " + folder.at("run") + " --valid-data-path " + folder.at("set"),
                 {"'other'", "'byte'"});
  set.json = R"({"tokenizer": "byte", "vocabulary_size": 300})";
  set.write(folder.at("set"));
  expect_refused("eval " + folder.at("run") + " --data-path " + folder.at("set"),
                 {"set", "300", "257"});
  expect_refused("eval " + folder.at("run"), {"--data-path"});
  expect_refused("eval " + folder.at("run") + " --data-path " + folder.at("none"), {"none.idx"});
  expect_refused("eval " + folder.at("run") + " --data-path 0.5 " + folder.at("a"),
                 {"0.5 is a weight", "give prefixes alone"});
}

TEST_F(BadData, WhatWasMeantIsSaid) {
  const auto refuse_path = [&](const std::string& path, const Parts& parts) {
    expect_refused(folder.train("new", {{"data-path", path}}), parts);
  };
  std::ofstream(folder.at("raw.text")) << "text";
  refuse_path(folder.at("raw.text"),
              {"raw.text.idx", "No such file", "tokenize --input " + folder.at("raw.text")});
  for (const char* file : {"a.bin", "a.idx", "a.txt"}) {
    refuse_path(folder.at(file), {"is given as " + folder.at("a")});
  }
  refuse_path(folder.at(""), {"is a folder"});
  run_well(folder.train("run"));
  expect_refused("eval " + folder.at("run") + " --data-path " + folder.at("raw.text"),
                 {"tokenize --input"});
  fs::rename(folder.at("a.idx"), folder.at("moved.idx"));
  fs::rename(folder.at("a.bin"), folder.at("moved.bin"));
  fs::rename(folder.at("a.json"), folder.at("moved.json"));
  for (const auto& more : {std::string(), " --data-path " + folder.at("a")}) {
    expect_refused("train " + folder.at("run") + " --train-iters 4" + more,
                   {"a.idx", "identity", "if it has moved", "--data-path"});
  }
  run_well("train " + folder.at("run") + " --train-iters 4 --data-path " + folder.at("moved"));
}

TEST_F(BadData, WhatIsNotReadNeedNotBeThere) {
  const std::string main = folder.at("main"), branch = folder.at("branch");
  const auto move = [&](const std::string& from, const std::string& to) {
    for (const char* part : {".bin", ".idx", ".json"}) {
      fs::rename(folder.at(from + part), folder.at(to + part));
    }
  };
  const auto expect_nothing_left = [](const std::string& line) {
    const auto outcome = run(words(line));
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_THAT(outcome.err, testing::HasSubstr("nothing is left to do"));
  };
  run_well(folder.train("main", {{"train-iters", "4"}}, "--split 80,20"));
  run_well("extend " + main + " --at-step 6 --data-path " + folder.at("b"));
  move("b", "later");
  run_well("fork " + main + "@4 " + branch + " --lr-decay-style linear --lr-decay-iters 2");
  run_well("train " + branch + " --eval-interval 2");
  EXPECT_TRUE(metrics_of(branch).back().contains("validation_loss"));
  run_well("train " + main + " --train-iters 6 --eval-interval 9 --valid-data-path " +
           folder.at("none"));
  move("a", "archived");
  expect_nothing_left("train " + branch);
  expect_nothing_left("train " + main + " --train-iters 6");
  expect_nothing_left("train " + main + " --train-iters 5");
  expect_refused("train " + main + " --train-iters 7", {"b.idx", "if it has moved"});
  move("later", "b");
  run_well("train " + main + " --train-iters 7");
}

TEST_F(BadData, RememberedValidationDataThatMovedAreForgottenByAWord) {
  const std::string train = "train " + folder.at("run") + " --train-iters ";
  run_well(folder.train("run", {},
                        "--eval-interval 1 --eval-iters 1 --valid-data-path " + folder.at("b")));
  fs::remove(folder.at("b.idx"));
  expect_refused(train + "3", {"b.idx", "as at the last start", "--eval-interval 0"});
  run_well(train + "3 --eval-interval 0");
  run_well(train + "4");
}

TEST_F(BadData, ABlendIsSaidWhole) {
  run_well(folder.train("run"));
  const auto outcome = run(words("extend " + folder.at("run") + " --at-step 2 --data-path 0.3 " +
                                 folder.at("a") + " 0.7 " + folder.at("b")));
  EXPECT_THAT(outcome.err,
              testing::HasSubstr("reads 0.3 " + folder.at("a") + " 0.7 " + folder.at("b") + "\n"));
}

TEST_F(BadData, NothingIsTrainedAtTheRateZeroBehindADecay) {
  const auto decay = [&](const std::string& run, const std::string& more) {
    run_well(folder.train(run, {}, "--lr-decay-style linear --lr-decay-iters 2 " + more));
  };
  decay("still", "");
  decay("slow", "--min-lr 1e-4");
  const std::string data = " --data-path " + folder.at("b");
  expect_refused("train " + folder.at("still") + " --train-iters 3",
                 {"--train-iters 3", "ends at step 2", "rate is 0", "fork"});
  expect_refused(
      folder.train("new", {{"train-iters", "4"}}, "--lr-decay-style linear --lr-decay-iters 2"),
      {"--train-iters 4", "2 at most"});
  expect_refused("extend " + folder.at("still") + " --at-step 2" + data, {"never read"});
  EXPECT_FALSE(fs::exists(folder.at("new")));
  run_well("extend " + folder.at("slow") + " --at-step 2" + data);
  const auto outcome = run(words("train " + folder.at("slow") + " --train-iters 3"));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, testing::HasSubstr("stays at 0.0001"));
  EXPECT_EQ(metrics_of(folder.at("slow")).back().at("learning_rate"), 1e-4);
}

TEST_F(BadData, AnUntrainedPathKeepsNothingThatWasNotGivenAgain) {
  expect_refused(folder.train("run", {}, "--init-method-std 1e38"), {"loss of step 1 is"}, 1, 3);
  expect_refused("train " + folder.at("run") + " --vocab-size 512",
                 {"--vocab-size 512", "257", "all options of a new path"});
  const auto outcome = run(words(folder.train("run")));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, testing::HasSubstr("made anew: it was made with --init-method-std"));
}

TEST_F(BadData, PrefixesThatAreFolders) {
  for (const char* name : {"made/", "made/.", "made/..", "."}) {
    const std::string prefix = name[0] == '.' ? name : folder.at(name);
    expect_refused("tokenize --input " + folder.at("a.txt") + " --output-prefix " + prefix,
                   {"'" + prefix + "' names a folder"});
    EXPECT_FALSE(fs::exists(folder.at("made")));
  }
}

TEST_F(BadData, TextsThatCannotBeTokenized) {
  refuse_tokenize("--input " + folder.at("none.txt"), {"none.txt", "No such file"});
  refuse_tokenize("--input " + folder.at("a.txt") + " " + folder.at("none.txt"), {"none.txt"});
  refuse_tokenize("", {"--input"});
  refuse_tokenize("--input " + folder.at("a.txt") + " --tokenizer-type bpe", {"'bpe'", "'byte'"});
  std::ofstream(folder.at("x.jsonl")) << "{\"text\": \"a\"}\n{\"text\"\n";
  refuse_tokenize("--json-keys text --input " + folder.at("x.jsonl"), {"x.jsonl", "line 2"});
  std::ofstream(folder.at("x.jsonl")) << "{\"text\": \"a\"}\n{\"txt\": \"b\"}\n";
  refuse_tokenize("--json-keys text --input " + folder.at("x.jsonl"),
                  {"x.jsonl", "line 2", "'text'"});
}

}  // namespace
}  // namespace switchyard::test
