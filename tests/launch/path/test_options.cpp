#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <regex>
#include <set>

#include "core/error.h"
#include "launch/path/command_line.h"
#include "launch/path/option_hints.h"
#include "launch/path/options.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

std::vector<OptionSpec> all_options() {
  auto all = model_options();
  for (const auto& table : {training_options(), run_options()}) {
    all.insert(all.end(), table.begin(), table.end());
  }
  return all;
}

Command parse(const std::vector<std::string>& arguments) {
  return parse_command(all_options(), arguments);
}

std::string error_of(const std::vector<std::string>& arguments) {
  try {
    parse(arguments);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Options, ReadsNamesOfMegatronAndShortForms) {
  const auto c = parse({"--tp", "2", "--pipeline-model-parallel-size", "3", "--lr", "1e-3"});
  EXPECT_EQ(c.given.integer("tensor-model-parallel-size"), 2);
  EXPECT_EQ(c.given.integer("pipeline-model-parallel-size"), 3);
  EXPECT_EQ(c.given.real("lr"), 1e-3);
  EXPECT_EQ(c.given.text("lr"), "0.001");
}

TEST(Options, RefusesAbbreviationsAndUnknownNames) {
  EXPECT_THAT(error_of({"--tensor-model", "2"}), HasSubstr("tensor-model"));
  EXPECT_THAT(error_of({"--hidden", "2"}), HasSubstr("hidden"));
  EXPECT_THAT(error_of({"--no-such-thing"}), HasSubstr("no-such-thing"));
}

std::vector<std::string> repetitions(const std::vector<std::string>& arguments) {
  return describe_repetitions(all_options(), arguments);
}

TEST(Options, TheLastOfSeveralValuesCountsAndALineSaysSo) {
  const std::vector<std::string> line = {
      "--lr",   "6e-4", "RUN",  "--tp=2", "--lr=5e-4",
      "--seed", "1",    "--lr", "3e-4",   "--tensor-model-parallel-size",
      "4"};
  EXPECT_EQ(parse(line).given.real("lr"), 3e-4);
  EXPECT_EQ(parse(line).given.integer("tensor-model-parallel-size"), 4);
  EXPECT_THAT(
      repetitions(line),
      UnorderedElementsAre("--lr given 3 times: 3e-4 counts, not 6e-4, 5e-4",
                           "--tensor-model-parallel-size (--tp) given 2 times: 4 counts, not 2"));
  EXPECT_THAT(error_of({"--tp", "0", "--tp", "2"}), HasSubstr("--tp 0; at least 1 is allowed"));
}

// As with argparse: a script that appends another blend means that one alone.
TEST(Options, TheLastOfSeveralListsCountsAsAWhole) {
  const std::vector<std::string> line = {"--data-path", "0.5", "A", "0.5", "B", "--data-path", "C"};
  EXPECT_THAT(parse(line).given.list("data-path"), ElementsAre("C"));
  EXPECT_THAT(repetitions(line),
              ElementsAre("--data-path given 2 times: C counts, not 0.5 A 0.5 B"));
  const std::vector<std::string> alike = {"--data-path", "1", "A", "--data-path", "1", "A"};
  EXPECT_THAT(parse(alike).given.list("data-path"), ElementsAre("1", "A"));
  EXPECT_THAT(repetitions(alike), IsEmpty());
}

// It went with the list that counts no more; whether it is a name or a set nobody can tell.
TEST(Options, ANameBehindAListThatIsGivenAgainIsNamed) {
  const auto problem_of = [](const std::vector<std::string>& line, size_t count) {
    try {
      auto command = parse(line);
      take_names(command, count, count == 1 ? "RUN" : "MAIN@STEP and NEW");
    } catch (const Error& problem) {
      return std::string(problem.what());
    }
    return std::string();
  };
  const std::string given_up =
      "'RUN' of '--data-path A RUN' may be one, but with the last --data-path that list is given "
      "up";
  EXPECT_THAT(problem_of({"--data-path", "A", "RUN", "--data-path", "B"}, 1),
              AllOf(HasSubstr("RUN is missing"), HasSubstr(given_up),
                    HasSubstr("may stand in front of options")));
  EXPECT_THAT(problem_of({"MAIN@1", "--data-path", "A", "RUN", "--data-path", "B"}, 2),
              AllOf(HasSubstr("'MAIN@1' was given"), HasSubstr(given_up)));
  EXPECT_EQ(problem_of({"RUN", "--data-path", "A", "X", "--data-path", "B"}, 1), "");
  EXPECT_EQ(problem_of({"--data-path", "A", "--data-path", "B", "RUN"}, 1), "");
  EXPECT_THAT(problem_of({"--data-path", "A", "--data-path", "B"}, 1),
              testing::Not(HasSubstr("given up")));
}

TEST(Options, WhatIsGivenAgainAlikeOrAddsToAListIsNotSaid) {
  const std::vector<std::string> alike = {"--bf16", "--lr", "3e-4", "--bf16", "--lr=0.0003"};
  EXPECT_TRUE(parse(alike).given.flag("bf16"));
  EXPECT_THAT(repetitions(alike), IsEmpty());
  const std::vector<std::string> lists = {"--average", "running", "--average", "lawa:k=2,every=3"};
  EXPECT_THAT(parse(lists).given.list("average"), ElementsAre("running", "lawa:k=2,every=3"));
  EXPECT_THAT(repetitions(lists), IsEmpty());
}

TEST(Options, WhatCountsOfTheLineGoesBeforeAFile) {
  const test::TemporaryFolder folder;
  const std::string file = folder.path() / "run.cfg", other = folder.path() / "other.cfg";
  std::ofstream(file) << "lr = 1\nseed = 7\n";
  std::ofstream(other) << "seed = 8\n";
  const std::vector<std::string> line = {"--lr", "2", "--config", file,
                                         "--lr", "3", "--config", other};
  EXPECT_EQ(parse(line).given.real("lr"), 3);
  EXPECT_EQ(parse(line).given.integer("seed"), 7);
  EXPECT_THAT(repetitions(line), ElementsAre("--lr given 2 times: 3 counts, not 2"));
}

TEST(Options, AnUnknownNameIsAnsweredWithWhatIsMeant) {
  EXPECT_THAT(error_of({"--hiden-size", "2"}), HasSubstr("did you mean --hidden-size?"));
  EXPECT_THAT(error_of({"--tensor-model-parallel", "2"}),
              HasSubstr("did you mean --tensor-model-parallel-size?"));
  EXPECT_THAT(error_of({"--lr-warmup-iter=2"}), HasSubstr("did you mean --lr-warmup-iters?"));
  EXPECT_THAT(error_of({"--no-such-thing"}), HasSubstr("see --help"));
  const std::pair<const char*, const char*> of_megatron[] = {
      {"save", "train RUN"},
      {"save", "convert --from RUN --to HF_FOLDER"},
      {"load", "train RUN"},
      {"ckpt-step", "--load-step N"},
      {"load", "convert --from HF_FOLDER --to RUN"},
      {"finetune", "fork RUN@STEP"},
      {"finetune", "convert --from HF_FOLDER --to RUN"},
      {"pretrained-checkpoint", "convert --from HF_FOLDER --to RUN"},
      {"no-load-optim", "fork RUN@STEP"},
      {"num-workers", "leave it out"},
      {"exit-signal-handler", "USR1"},
      {"use-distributed-optimizer", "always"},
      {"sequence-parallel", "always"},
      {"use-flash-attn", "always"},
      {"tensorboard-dir", "--tensorboard DIR"},
      {"tensorboard-log-interval", "metrics.jsonl"},
      {"train-samples", "--global-batch-size"},
      {"lr-decay-samples", "--global-batch-size"},
      {"recompute-activations", "not there yet"},
      {"num-layers-per-virtual-pipeline-stage", "not there yet"},
      {"context-parallel-size", "not there yet"},
      {"rampup-batch-size", "not there yet"},
      {"tokenizer-type", "--vocab-size"},
      {"merge-file", "preprocess_data.py"},
      {"make-vocab-size-divisible-by", "128"},
      {"openai-gelu", "--activation"},
      {"transformer-impl", "--attention-backend"},
      {"no-bias-gelu-fusion", "--attention-backend"},
      {"data-cache-path", "leave it out"},
      {"bias-gelu-fusion", "--attention-backend"},
      {"attention-softmax-in-fp32", "always"},
      {"params-dtype", "--bf16"},
      {"per-split-data-args-path", "--valid-data-path"},
      {"add-bias-linear", "--disable-bias-linear"},
      {"weight-decay-incr-style", "--weight-decay"},
      {"ddp-bucket-size", "leave it out"},
      {"calculate-per-token-loss", "mean over all tokens"},
      {"manual-gc", "leave it out"},
      {"check-for-nan-in-loss-and-grad", "code 3"},
      {"decoder-last-pipeline-num-layers", "--pipeline-layers"},
      {"batch-size", "--micro-batch-size"},
      {"model-parallel-size", "--tensor-model-parallel-size"},
      {"warmup", "--lr-warmup-iters"},
      {"world-size", "mpirun -np N"},
      {"data-parallel-size", "--tp and --pp"},
      {"distributed-backend", "NCCL"}};
  for (const auto& [name, answer] : of_megatron) {
    EXPECT_THAT(error_of({std::string("--") + name, "1"}),
                testing::AllOf(HasSubstr("option of Megatron-LM"), HasSubstr(answer)));
  }
  const test::TemporaryFolder folder;
  const std::string file = (folder.path() / "config").string();
  std::ofstream(file) << "hiden-size = 2\n";
  EXPECT_THAT(error_of({"--config", file}), HasSubstr("did you mean --hidden-size?"));
}

TEST(Options, AllUnknownNamesAreAnsweredAtOnce) {
  const auto three = AllOf(HasSubstr("--save is an option"), HasSubstr("\n  --num-experts is an"),
                           HasSubstr("\n  --foo is unknown"), testing::Not(HasSubstr("--lr")));
  EXPECT_THAT(error_of({"--save", "x", "--lr", "1", "--num-experts=8", "RUN", "--foo"}), three);
  const test::TemporaryFolder folder;
  const std::string file = (folder.path() / "config").string();
  std::ofstream(file) << "save = x\nlr = 1\nnum-experts = 8\nfoo\n";
  EXPECT_THAT(error_of({"--config", file}), AllOf(three, HasSubstr("line 3"), HasSubstr("line 4")));
}

// Of names that stand for several only what is no slip of the keys is answered.
TEST(Options, MistypedNamesComeBeforePatterns) {
  EXPECT_THAT(error_of({"--log-intervl", "1"}), HasSubstr("did you mean --log-interval?"));
  EXPECT_THAT(error_of({"--log-params-norm"}), HasSubstr("option of Megatron-LM (--log-*)"));
  EXPECT_THAT(error_of({"--optimizer.lr", "1"}), HasSubstr("did you mean --lr?"));
  EXPECT_THAT(error_of({"--training.steps", "1"}), HasSubstr("--train-iters"));
  EXPECT_THAT(error_of({"--LR", "1"}), HasSubstr("did you mean --lr?"));
  EXPECT_THAT(error_of({"---lr", "1"}), HasSubstr("begins with two dashes"));
  EXPECT_THAT(error_of({"--eval_steps", "1"}), HasSubstr("--eval-interval"));
  EXPECT_THAT(error_of({"--n_head", "1"}), HasSubstr("--num-attention-heads"));
  EXPECT_THAT(error_of({"--add-bias-linear"}), testing::Not(HasSubstr("leave it out")));
}

TEST(Options, ExpertsAreNotThereYet) {
  for (const char* name : {"--num-experts", "--moe-router-topk", "--expert-model-parallel-size"})
    EXPECT_THAT(error_of({name, "1"}),
                AllOf(HasSubstr("not there yet"), testing::Not(HasSubstr("leave it out"))));
}

TEST(Options, WordsWithOneDashAreNoNames) {
  EXPECT_THAT(error_of({"RUN", "-lr", "3"}), HasSubstr("'-lr': an option begins with two dashes; "
                                                       "did you mean --lr?"));
  EXPECT_THAT(error_of({"--data-path", "a", "-tp=2"}), HasSubstr("did you mean --tp?"));
  EXPECT_THAT(error_of({"-h1"}), HasSubstr("see --help"));
  EXPECT_THAT(error_of({"--no-bf16"}), HasSubstr("without --bf16 it is off"));
  EXPECT_TRUE(parse({"-h"}).help);
  EXPECT_THAT(error_of({"--weight-decay", "-1"}), HasSubstr("--weight-decay -1; at least 0"));
}

TEST(Options, NamesOfOtherTrainersAreAnswered) {
  EXPECT_THAT(error_of({"--dp", "2"}), HasSubstr("mpirun -np N"));
  EXPECT_THAT(error_of({"--nproc_per_node=2"}), HasSubstr("mpirun -np N"));
  EXPECT_THAT(error_of({"--max-steps", "2"}), HasSubstr("--train-iters"));
  EXPECT_THAT(error_of({"--global_batch_size", "2"}), HasSubstr("--global-batch-size?"));
}

TEST(Options, AnswersNameOnlyOptionsThatExistAndAnswerNoneThatDoes) {
  // Those of extend, tokenize and convert.
  std::set<std::string> known{"at-step", "no-append-eod", "from", "to"};
  for (const auto& spec : all_options()) {
    known.insert(long_name(spec));
    if (!short_name(spec).empty()) known.insert(short_name(spec));
  }
  const std::regex option("--([a-z0-9-]+)");
  for (const auto& [names, here] : option_answers()) {
    const std::string text = here, all = names;
    EXPECT_TRUE(all.starts_with(' ') && all.ends_with(' ')) << all;
    for (std::sregex_iterator it(text.begin(), text.end(), option), end; it != end; ++it)
      EXPECT_TRUE(known.contains((*it)[1])) << all << text;
    for (const std::string& name : known)
      EXPECT_EQ(all.find(" " + name + " "), std::string::npos) << name;
  }
}

TEST(Options, NamesOptionAndValueOfWrongKind) {
  EXPECT_THAT(error_of({"--tp", "two"}), testing::AllOf(HasSubstr("two"), HasSubstr("whole")));
  EXPECT_THAT(error_of({"--lr", "fast"}), testing::AllOf(HasSubstr("--lr"), HasSubstr("fast")));
  EXPECT_THAT(error_of({"--lr", "nan"}), HasSubstr("finite"));
  EXPECT_THAT(error_of({"--tp", "2.5"}), HasSubstr("2.5"));
}

TEST(Options, RunMayStandBeforeOrBehindAListOfValues) {
  for (const auto& line : std::vector<std::vector<std::string>>{
           {"RUN", "--data-path", "0.7", "A", "0.3", "B"},
           {"--data-path", "0.7", "A", "0.3", "B", "RUN"},
           {"--data-path", "0.7", "A", "0.3", "B", "--lr", "1", "RUN"}}) {
    auto c = parse(line);
    EXPECT_EQ(take_run(c, "RUN"), "RUN");
    EXPECT_THAT(c.given.list("data-path"), ElementsAre("0.7", "A", "0.3", "B"));
  }
  auto c = parse({"--data-path", "A", "RUN"});
  EXPECT_EQ(take_run(c, "RUN"), "RUN");
  EXPECT_THAT(c.given.list("data-path"), ElementsAre("A"));
}

TEST(Options, NamesMayStandBehindAnyListOfValues) {
  auto valid = parse({"--data-path", "A", "--valid-data-path", "V", "RUN"});
  EXPECT_EQ(take_run(valid, "RUN"), "RUN");
  EXPECT_THAT(valid.given.list("valid-data-path"), ElementsAre("V"));
  auto several = parse({"--data-path", "A", "B", "RUN"});
  EXPECT_EQ(take_run(several, "RUN"), "RUN");
  EXPECT_THAT(several.given.list("data-path"), ElementsAre("A", "B"));
  for (const auto& line : std::vector<std::vector<std::string>>{
           {"MAIN@1", "--data-path", "A", "NEW"}, {"--data-path", "A", "MAIN@1", "NEW"}}) {
    auto fork = parse(line);
    EXPECT_THAT(take_names(fork, 2, "MAIN@STEP and NEW"), ElementsAre("MAIN@1", "NEW"));
    EXPECT_THAT(fork.given.list("data-path"), ElementsAre("A"));
  }
  auto weight = parse({"--data-path", "0.5", "A", "0.5"});
  EXPECT_THROW(take_run(weight, "RUN"), Error);
}

TEST(Options, RefusesMissingOrSecondRun) {
  auto none = parse({"--data-path", "A"});
  EXPECT_THROW(take_run(none, "RUN"), Error);
  auto two = parse({"R1", "R2"});
  EXPECT_THROW(take_run(two, "RUN"), Error);
}

TEST(Options, ConfigurationFileIsOverriddenByTheLine) {
  const test::TemporaryFolder folder;
  const std::string file = folder.path() / "run.cfg";
  std::ofstream(file) << "lr = 2e-3\nseed = 7\ndata-path = 0.5 A 0.5 B\nbf16 = true\n# remark\n";
  const auto c = parse({"--config", file, "--lr", "1e-3"});
  EXPECT_EQ(c.given.real("lr"), 1e-3);
  EXPECT_EQ(c.given.integer("seed"), 7);
  EXPECT_TRUE(c.given.flag("bf16"));
  EXPECT_THAT(c.given.list("data-path"), ElementsAre("0.5", "A", "0.5", "B"));
  std::ofstream(file) << "learning = 1\n";
  EXPECT_THAT(error_of({"--config", file}), HasSubstr("--learning is unknown"));
  EXPECT_THAT(error_of({"--config", "absent.cfg"}), HasSubstr("absent.cfg"));
}

class ConfigFile : public testing::Test {
 protected:
  Command parsed(const std::string& text) const {
    std::ofstream(file_) << text;
    return parse({"--config", file_});
  }
  std::string error(const std::string& text) const {
    std::ofstream(file_) << text;
    return error_of({"--config", file_});
  }
  test::TemporaryFolder folder_;
  std::string file_ = folder_.path() / "run.cfg";
};

TEST_F(ConfigFile, ValuesHoldBlanksAndHashesBetweenQuotesOrBehindBackslashes) {
  const auto paths = [&](const std::string& value) {
    return parsed("data-path = " + value + "\n").given.list("data-path");
  };
  EXPECT_THAT(paths("\"my data/a\""), ElementsAre("my data/a"));
  EXPECT_THAT(paths("'a#b' # remark"), ElementsAre("a#b"));
  EXPECT_THAT(paths("my\\ data a\\#b"), ElementsAre("my data", "a#b"));
  EXPECT_THAT(paths("0.5 'a b' 0.5 \"c \\\"d\\\"\""), ElementsAre("0.5", "a b", "0.5", "c \"d\""));
  EXPECT_THAT(paths("'a\\ b' don't c\\d"), ElementsAre("a\\ b", "don't", "c\\d"));
  EXPECT_EQ(parsed("split = '9 # 1'").given.text("split"), "9 # 1");
  EXPECT_EQ(parsed("split = 9 or 1  # remark\r\n").given.text("split"), "9 or 1");
}

TEST_F(ConfigFile, FlagsStandAlone) {
  const auto c = parsed("bf16\n  swiglu  # remark\nparallel-residual = false\n\n# all\nlr=1#x\n");
  EXPECT_TRUE(c.given.flag("bf16"));
  EXPECT_TRUE(c.given.flag("swiglu"));
  EXPECT_FALSE(c.given.flag("parallel-residual"));
  EXPECT_EQ(c.given.real("lr"), 1);
  EXPECT_EQ(parsed("tp = 2").given.integer("tensor-model-parallel-size"), 2);
  EXPECT_THAT(parsed("data-path = a\ndata-path = b").given.list("data-path"),
              ElementsAre("a", "b"));
}

TEST_F(ConfigFile, ErrorsNameFileAndLine) {
  const auto expect = [&](const std::string& text, int line, const char* cause) {
    EXPECT_THAT(error(text), AllOf(HasSubstr(cause), HasSubstr("line " + std::to_string(line)),
                                   HasSubstr(file_)));
  };
  expect("# one\nlearning = 1\n", 2, "--learning is unknown");
  expect("help\n", 1, "'help' belongs on the command line");
  expect("config = c\n", 1, "'config' belongs on the command line");
  expect("lr = 1\n--bf16\n", 2, "'--bf16'; names stand without dashes here: bf16");
  expect("lr\n", 1, "lr without a value");
  expect("lr = fast\n", 1, "--lr fast; a finite number");
  expect("lr = \n", 1, "--lr ; a finite number");
  expect("\nlr = 1 2\n", 2, "--lr 1 2; a finite number");
  expect("lr = '1' 2\n", 1, "lr has 2 values");
  expect("lr 1\n", 1, "'lr 1'; 'name = value'");
  expect("= 1\n", 1, "'= 1'; 'name = value'");
  expect("data-path = 'a\n", 1, "a quote ' without its end");
  expect("data-path = \"a\\\"\n", 1, "a quote \" without its end");
  expect("data-path = 'a'b\n", 1, "'b' directly behind");
  expect("data-path =\n", 1, "data-path without values");
  expect("seed = 1\n\nseed = 2\n", 3, "seed is given in line 1");
  expect("tp = 1\ntensor-model-parallel-size = 2\n", 2, "given in line 1");
  expect("tp = 0\n", 1, "--tp 0;");  // the name as it was typed
  expect("bf16 = yes\n", 1, "true or false");
  EXPECT_THAT(error_of({"--config", folder_.path()}), HasSubstr("cannot be read"));
}

TEST(Options, HelpShowsEachOptionBelowWhatItBelongsTo) {
  const auto text = help_text(all_options(), "switchyard train RUN");
  size_t last = 0;
  for (const char* next :
       {"The model", "--hidden-size", "Data, batch", "--data-path", "Learning rate", "--min-lr",
        "Optimizer", "--adam-eps", "Precision", "--bf16", "Ranks and device", "--micro-batch-size",
        "The run", "--train-iters", "--config", "For example:\n  switchyard train RUN\n"}) {
    const size_t at = text.find(next, last);
    ASSERT_NE(at, std::string::npos) << next;
    last = at;
  }
}

TEST(Options, ValuesOutOfRangeAreRefusedByTheNameThatWasTyped) {
  EXPECT_THAT(error_of({"--tp", "0"}), HasSubstr("--tp 0; at least 1 is allowed"));
  EXPECT_THAT(error_of({"--tensor-model-parallel-size=0"}),
              HasSubstr("--tensor-model-parallel-size 0; at least 1"));
  EXPECT_THAT(error_of({"--normalization", "layernorm"}),
              HasSubstr("--normalization layernorm; LayerNorm or RMSNorm is allowed"));
  EXPECT_THAT(error_of({"--lr-decay-style", "WSD"}), HasSubstr("a branch of it decays: fork"));
  EXPECT_THAT(error_of({"--adam-beta2", "0.99999999999"}), HasSubstr("0 <= beta < 1 (in fp32)"));
  EXPECT_THAT(error_of({"--load-step", "-1"}), HasSubstr("--load-step -1; at least 0"));
  EXPECT_THAT(error_of({"--hidden-dropout", "1"}), HasSubstr("0 <= p < 1 is allowed"));
}

// Whatever has a default or a choice could be given as it is.
TEST(Options, DefaultsAndChoicesAreAllowed) {
  for (const auto& spec : all_options()) {
    Settings settings;
    if (!spec.fallback.empty()) {
      EXPECT_NO_THROW(settings.set(spec, {spec.fallback})) << spec.name;
    }
    for (const auto& choice : spec.allowed.choices) {
      EXPECT_NO_THROW(settings.set(spec, {choice})) << spec.name;
    }
  }
}

TEST(Options, CanonicalNumbersReadBackToTheSameBits) {
  for (const double value : {0.1, 1.0 / 3.0, 6.02e23, 5e-324, 0.001}) {
    Settings settings;
    settings.set_text("lr", canonical_real(value));
    EXPECT_EQ(settings.real("lr"), value);
  }
}

}  // namespace
}  // namespace switchyard
