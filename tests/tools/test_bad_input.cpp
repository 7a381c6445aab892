// What cannot be trained is refused in one line before anything is written.
#include <gmock/gmock.h>

#include <cstdlib>
#include <fstream>

#include "tests/tools/program.h"
#include "tests/tools/refusal.h"

namespace fs = std::filesystem;

namespace switchyard::test {
namespace {

class BadInput : public testing::Test {
 protected:
  using Parts = std::vector<std::string>;

  // A new path with one option changed is refused, and nothing is left of it.
  void refuse(const std::string& name, const std::string& value, const Parts& parts,
              const std::string& more = "", int ranks = 1) {
    refuse_all({{name, value}}, parts, more, ranks);
  }
  void refuse_all(const std::vector<std::pair<std::string, std::string>>& changed,
                  const Parts& parts, const std::string& more = "", int ranks = 1) {
    const std::string line = expect_refused(folder.train("new", changed, more), parts, ranks);
    if (ranks > 1 && !line.starts_with("switchyard: [options]")) {
      EXPECT_THAT(line, testing::HasSubstr("(rank "));
    }
    EXPECT_FALSE(fs::exists(folder.at("new"))) << line;
  }
  void refuse_with(const std::string& more, const Parts& parts, int ranks = 1) {
    refuse_all({}, parts, more, ranks);
  }

  RefusalFolder folder;
};

TEST_F(BadInput, WordsThatAreNoOptions) {
  refuse_with("--frobnicate 1", {"[options]", "--frobnicate"});
  refuse_with("--tensor-model-parallel 1",
              {"[options]", "did you mean --tensor-model-parallel-size"});
  refuse_with("--sequence-length 1", {"[options]", "--sequence-length"});
  refuse_with("--seed abc", {"[options]", "--seed abc", "whole number"});
  refuse_with("--seed 1.5", {"--seed 1.5", "whole number"});
  refuse_with("--seed 99999999999999999999", {"--seed 99999999999999999999", "whole number"});
  refuse_with("--weight-decay much", {"--weight-decay much", "finite number"});
  refuse_with("--weight-decay nan", {"--weight-decay nan", "finite number"});
  refuse_with("--seed", {"[options]", "--seed", "missing"});
  refuse_with("--seed x --seed 2", {"--seed x", "whole number"});
  refuse_with("--config " + folder.at("none"), {"--config", "none", "cannot be read"});
  std::ofstream(folder.at("config")) << "sed = 1\n";
  refuse_with("--config " + folder.at("config"), {"--config", "config", "--sed is unknown"});
  expect_refused("frob run", {"'frob'", "--help"});
  expect_refused("train", {"RUN is missing"});
  expect_refused("train one two", {"'one' 'two'", "one RUN"});
  expect_refused(std::vector<std::string>{"train", ""}, {"empty name"});
}

TEST_F(BadInput, ModelsThatDoNotExist) {
  refuse("num-attention-heads", "3", {"--hidden-size 16", "--num-attention-heads 3", "multiple"});
  refuse("hidden-size", "18", {"--hidden-size 18", "--num-attention-heads 4"});
  refuse("hidden-size", "-16", {"--hidden-size -16"});
  refuse("hidden-size", "99999999996", {"--hidden-size 99999999996", "1 to"});
  refuse("num-layers", "0", {"--num-layers 0", "1 to"});
  refuse("num-layers", "99999999999", {"--num-layers 99999999999", "1 to"});
  refuse("num-layers", "", {"--num-layers", "missing"});
  refuse("num-query-groups", "3", {"--num-query-groups 3", "--num-attention-heads 4"});
  refuse("max-position-embeddings", "8", {"--seq-length 16", "8 learned positions"});
  refuse("hidden-dropout", "1.0", {"--hidden-dropout 1", "0 <= p < 1"});
  refuse("attention-dropout", "-0.1", {"--attention-dropout -0.1", "0 <= p < 1"});
  refuse("norm-epsilon", "0", {"--norm-epsilon 0", "above 0"});
  refuse("init-method-std", "-1", {"--init-method-std -1"});
  refuse("activation", "relu", {"--activation relu", "gelu-tanh"});
  refuse("normalization", "BatchNorm", {"--normalization BatchNorm", "RMSNorm"});
  refuse_with("--swiglu",
              {"--ffn-hidden-size 0 (8/3 of --hidden-size 16, down to a multiple of 64)"});
  refuse_with("--position-embedding-type rope --rotary-percent 0.3",
              {"--rotary-percent 0.3", "--hidden-size 16 / --num-attention-heads 4", "at least 2"});
  refuse_with("--position-embedding-type rope --rotary-percent 0.75",
              {"--rotary-percent 0.75", "is 3, no even whole number", "0.5 (2 channels) or 1 (4"});
  refuse_with("--add-qkv-bias", {"--add-qkv-bias", "--disable-bias-linear"});
  refuse_with("--use-rope-scaling", {"--use-rope-scaling", "--position-embedding-type rope"});
  refuse_with("--rope-scaling-factor 8", {"--rope-scaling-factor 8", "--use-rope-scaling"});
  refuse_with("--position-embedding-type rope --use-rope-scaling --rope-scaling-low-freq-factor 5",
              {"--rope-scaling-low-freq-factor 5 with --rope-scaling-high-freq-factor 4",
               "0 < low < high"});
  refuse("rope-scaling-factor", "0.5", {"--rope-scaling-factor 0.5", "1 or more"});
  refuse("preset", "gpt5", {"--preset gpt5;", "gpt2-124m"});
  refuse("vocab-size", "5", {"vocabulary of 5", "257"});
}

// What is filled in or rounded is said when a path is made, and then no more.
TEST_F(BadInput, RoundedSizesOfANewModelAreSaid) {
  const std::string line = folder.train("new", {{"hidden-size", "120"}}, "--swiglu");
  const std::string said = run(words(line)).err;
  EXPECT_THAT(said,
              testing::HasSubstr(
                  "--ffn-hidden-size 320 (8/3 of --hidden-size 120, down to a multiple of 64)"));
  EXPECT_THAT(run(words(line)).err, testing::Not(testing::HasSubstr("a multiple of 64")));
  EXPECT_THAT(run_well("plan --num-layers 1 --vocab-size 9 --seq-length 8 --num-attention-heads 4 "
                       "--hidden-size 120 --swiglu"),
              testing::HasSubstr("assumed: --ffn-hidden-size 320 (8/3 of --hidden-size 120"));
}

TEST(BadBench, IsRefusedBeforeAnythingIsTimed) {
  const std::string bench = "bench --preset gpt2-tiny --device cpu ";
  expect_refused(bench + "--steps 0", {"--steps 0", "at least 1"});
  expect_refused(bench + "--checkpoint-ranks 2", {"--checkpoint-ranks 2 without --checkpoint"});
  expect_refused(bench + "--warm-up -1", {"--warm-up -1", "at least 1"});
  expect_refused(bench + "--matrix-size 1000000", {"--matrix-size 1000000", "1 to 65536"});
  expect_refused(bench + "--matrix-seconds 1e9", {"--matrix-seconds 1", "to 3600"});
  expect_refused(bench + "--tuning-folder /proc/nosuch", {"--tuning-folder /proc/nosuch"}, 1, 5);
}

TEST_F(BadInput, NumbersThatMeanNothing) {
  refuse("seq-length", "0", {"--seq-length 0", "1 to 2147483648"});
  refuse("seq-length", "100000", {"windows of sequence length 100000", "1 or more is needed"});
  refuse("seq-length", "9223372036854775807", {"--seq-length 9223372036854775807", "1 to"});
  refuse("global-batch-size", "-4", {"--global-batch-size -4", "1 to"});
  refuse("global-batch-size", "99999999999999999",
         {"--global-batch-size 99999999999999999", "1 to"});
  refuse("hidden-size", "262144", {"[memory]", "does not give"});
  refuse("lr", "-1", {"--lr -1", "at least 0"});
  refuse("lr", "", {"needs --lr"});
  refuse("min-lr", "1", {"(--min-lr) 1 above", "(--lr) 0.001"});
  refuse("lr-warmup-iters", "-1", {"--lr-warmup-iters -1", "at least 0"});
  refuse("lr-decay-style", "cosine", {"--lr-decay-style cosine", "--lr-decay-iters"});
  refuse("lr-decay-iters", "9", {"--lr-decay-iters 9", "constant"});
  refuse("lr-decay-style", "sine", {"--lr-decay-style sine;", "1-sqrt"});
  refuse_all({{"lr-decay-style", "linear"}, {"lr-decay-iters", "5"}, {"lr-warmup-iters", "9"}},
             {"ends at step 5", "warm-up lasts to step 9"});
  refuse("adam-eps", "0", {"--adam-eps 0", "positive"});
  refuse("adam-eps", "1e-60", {"--adam-eps", "fp32"});
  refuse("adam-beta2", "1", {"--adam-beta2 1", "beta < 1"});
  refuse("clip-grad", "-1", {"--clip-grad -1", "at least 0"});
  refuse("weight-decay", "-1", {"--weight-decay -1"});
  refuse("seed", "-1", {"--seed -1"});
  refuse("train-iters", "0", {"--train-iters 0", "at least 1"});
  refuse("save-interval", "-1", {"--save-interval -1"});
  refuse("log-interval", "0", {"--log-interval 0"});
  refuse("load-step", "4", {"--load-step 4", "no path"});
  refuse("device", "gpu", {"--device gpu;", "cpu"});
  refuse_all({{"device", "cpu"}}, {"--cuda-graph on 'cpu'", "cuda"}, "--cuda-graph");
  refuse("distributed-timeout-minutes", "0", {"--distributed-timeout-minutes 0"});
  refuse("distributed-timeout-minutes", "9223372036854775807", {"--distributed-timeout-minutes"});
}

TEST_F(BadInput, OptionsThatContradictEachOther) {
  refuse_with("--swiglu --activation gelu-tanh", {"--swiglu", "--activation gelu-tanh"});
  refuse_with("--position-embedding-type rope --max-position-embeddings 8",
              {"--max-position-embeddings 8", "--seq-length 16"});
  refuse_with("--bf16 true", {"a flag takes no value"});
}

TEST_F(BadInput, AResultThatCannotBeWrittenIsNone) {
  run_well(folder.train("new"));
  for (const auto& line : {"inspect " + folder.at("new"), std::string("--help")}) {
    const std::string command = SWITCHYARD_PROGRAM " " + line + " >/dev/full 2>/dev/null";
    const int status = std::system(command.c_str());
    EXPECT_EQ(WEXITSTATUS(status), 5) << line;
  }
}

TEST_F(BadInput, LayoutsThatDoNotFit) {
  refuse("tp", "2", {"1 rank with --tp 2"});
  refuse("tp", "0", {"--tp 0", "at least 1"});
  refuse_all({{"tp", "4294967296"}, {"pp", "4294967296"}}, {"--tp 4294967296"});
  refuse("micro-batch-size", "3", {"--global-batch-size 4", "--micro-batch-size 3", "multiple"});
  refuse("micro-batch-size", "9223372036854775807", {"--micro-batch-size 9223372036854775807"});
  refuse("micro-batch-size", "0", {"--micro-batch-size 0", "at least 1"});
  refuse("pipeline-layers", "3", {"together 3", "2 layers"});
  refuse("pipeline-layers", "1,", {"--pipeline-layers 1,"});
  refuse("pipeline-layers", "4294967298", {"--pipeline-layers 4294967298"});
}

TEST_F(BadInput, ValidationWithoutData) {
  refuse("eval-interval", "1", {"--eval-interval 1", "--valid-data-path"});
  refuse_all({{"valid-data-path", folder.at("none")}, {"eval-interval", "2"}},
             {"none.idx", "No such file"});
  refuse_all({{"split", "999,0.1"}, {"eval-interval", "1"}}, {"--eval-interval 1"});
  refuse("split", "0.0001,99", {"none of them is for training", "0.0001,99"});
  refuse("split", "0,1", {"--split 0,1"});
  refuse("eval-iters", "0", {"--eval-iters 0"});
  refuse_all({{"split", "999,0.1"}, {"train-iters", "1000"}}, {"--eval-interval 1000"});
  run_well(folder.train("new", {{"split", "80,20"}},
                        "--eval-interval 1 --eval-iters 9000000000000000000"));
  EXPECT_TRUE(metrics_of(folder.at("new")).back().at("validation_loss").is_number());
}

TEST_F(BadInput, OptionsThatDoNothingYetAreSaid) {
  const auto said = [&](const std::string& more) {
    const auto outcome = run(words(folder.train("new", {}, more)));
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    fs::remove_all(folder.at("new"));
    return outcome.err;
  };
  using testing::HasSubstr;
  EXPECT_THAT(said("--min-lr 1e-5"), HasSubstr("--min-lr 1e-05: the rate is constant here"));
  EXPECT_THAT(said("--eval-iters 3"), HasSubstr("--eval-iters 3, but nothing is validated"));
  EXPECT_THAT(said("--split 80,20 --eval-iters 3"), testing::Not(HasSubstr("--eval-iters 3")));
}

// As in Megatron; what a later start was told holds, though the split is given again.
TEST_F(BadInput, ASplitIsValidatedOn) {
  const auto interval = [&](const std::string& more) {
    run_well(folder.train("new", {{"split", "80,20"}, {"train-iters", ""}}, more));
    std::ifstream lines(folder.at("new") + "/starts.jsonl");
    std::string last;
    for (std::string line; std::getline(lines, line);) last = line;
    return nlohmann::json::parse(last).at("options").at("eval-interval").get<int64_t>();
  };
  EXPECT_EQ(interval("--train-iters 1"), 1000);
  EXPECT_EQ(interval("--train-iters 2 --eval-interval 0"), 0);
  EXPECT_EQ(interval("--train-iters 3"), 0);
}

TEST_F(BadInput, DataThatIsNotThere) {
  refuse("data-path", folder.at("none"), {"none.idx", "No such file"});
  refuse("valid-data-path", folder.at("a") + " " + folder.at("b"), {"--valid-data-path", "pairs"});
  refuse("data-path", "0.5 " + folder.at("a") + " 0.5", {"3 values", "pairs"});
  refuse("data-path", "0 " + folder.at("a") + " 1 " + folder.at("b"), {"weight of 0"});
  expect_refused("train " + folder.at("new"), {folder.at("new"), "--data-path", "name right"});
}

TEST_F(BadInput, FoldersThatCannotBe) {
  std::ofstream(folder.at("file")) << "text";
  expect_refused(folder.train("file"), {"file", "cannot be"});
  expect_refused(folder.train("file/below"), {"file/below", "cannot be"});
  EXPECT_EQ(fs::file_size(folder.at("file")), 4u);
  const std::string line = folder.train("new");
  const size_t begin = line.find(folder.at("new"));
  std::string unwritable = line;
  unwritable.replace(begin, folder.at("new").size(), "/proc/new");
  expect_refused(unwritable, {"/proc/new", "cannot be"}, 1, 5);
}

// RUN may stand in front of options, behind them, and behind those that take several values.
TEST_F(BadInput, TheNameOfThePathMayStandAnywhere) {
  const std::string front = folder.train("one", {{"data-path", ""}});
  run_well(front + "--data-path " + folder.at("a"));
  const std::string options = front.substr(front.find("--"));
  run_well("train " + options + folder.at("two") + " --data-path " + folder.at("a"));
  run_well("train " + options + "--data-path " + folder.at("a") + " " + folder.at("three"));
  run_well("train " + options + "--data-path 0.5 " + folder.at("a") + " 0.5 " + folder.at("b") +
           " " + folder.at("four"));
  run_well("train " + options + "--data-path " + folder.at("a") + " --valid-data-path " +
           folder.at("b") + " " + folder.at("five"));
  for (const char* name : {"one", "two", "three", "four", "five"}) {
    EXPECT_TRUE(fs::exists(folder.at(name) + "/path.json")) << name;
  }
}

TEST_F(BadInput, ALossThatIsNotFiniteStopsTheRunUnsaved) {
  expect_refused(folder.train("hot", {{"lr", "1e30"}, {"clip-grad", "0"}, {"train-iters", "9"}}),
                 {"[train]", "of step 2 is", "nan"}, 1, 3);
  EXPECT_EQ(metrics_of(folder.at("hot")).size(), 1u);
  EXPECT_FALSE(fs::exists(folder.at("hot") + "/checkpoints"));
}

TEST_F(BadInput, AnEvaluationThatIsNotFiniteIsNoResult) {
  const auto one_step = [&](const std::string& run, const std::string& more) {
    return folder.train(run, {{"lr", "1e30"}, {"clip-grad", "0"}, {"train-iters", "1"}}, more);
  };
  run_well(one_step("hot", ""));
  for (const char* format : {"", " --json"}) {
    const std::string line = "eval " + folder.at("hot") + " --data-path " + folder.at("b") + format;
    expect_refused(line, {"[eval]", "hot' at step 1", "nan"}, 1, 3);
    EXPECT_EQ(run(words(line)).out, "");
  }
  expect_refused(one_step("watched", "--eval-interval 1 --valid-data-path " + folder.at("b")),
                 {"[train]", "the validation loss of step 1 is nan"}, 1, 3);
  EXPECT_EQ(metrics_of(folder.at("watched")).size(), 1u);
  EXPECT_FALSE(fs::exists(folder.at("watched") + "/checkpoints"));
}

TEST_F(BadInput, WordsThatAreNearlyRightAreNamed) {
  expect_refused("trian run", {"'trian'", "did you mean 'train'?"});
  refuse_with("--hiden-size 16", {"--hiden-size is unknown; did you mean --hidden-size?"});
  refuse_with("--save x", {"--save is an option of Megatron-LM", "train RUN"});
  refuse_with("--tp 2", {"1 rank with --tp 2", "launch/mpirun -np 2 switchyard", "launch -np 2"});
  refuse("lr-decay-style", "WSD", {"--lr-decay-style WSD;", "fork"}, "--lr-decay-iters 2");
  refuse("lr-decay-style", "inverse-square-root", {"not there yet"}, "--lr-decay-iters 2");
  refuse("attention-backend", "flash", {"--attention-backend flash", "each is fused (flash)"});
  expect_refused("launch -np 2 -- switchyard train run",
                 {"'switchyard' stands behind --", "launch -np 2 -- train RUN"});
  expect_refused("launch -np 2 switchyard train run",
                 {"'switchyard' stands before --", "-- train"});
  expect_refused("launch -np 2 -- fork a@1 b", {"'fork' is the work of one process"});
  for (const char* line : {"-V", "--version", "train --version", "train run -V", "version"})
    EXPECT_THAT(run_well(line), testing::StartsWith("switchyard 0.")) << line;
  const std::string version = run_well("--version");
  for (const char* part : {"\ncommit ", "\ninstructions ", "; products: ", "\noneDNN ", "\nMPI ",
                           "Open MPI v", "\nHDF5 ", "\nCUDA ", "\ncuDNN ", "\nNCCL "}) {
    EXPECT_THAT(version, testing::HasSubstr(part));
  }
  for (const char* line : {"-h", "--help"})
    EXPECT_THAT(run_well(line), testing::HasSubstr("start or continue a path")) << line;
  EXPECT_THAT(run_well("eval -h"), testing::HasSubstr("usage: switchyard eval"));
}

}  // namespace
}  // namespace switchyard::test
