// Branches of averages and branches that leave samples out, as a user makes them.
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "launch/path/run_folder.h"
#include "tests/support/temporary_folder.h"
#include "tests/tools/paths.h"

namespace fs = std::filesystem;

namespace switchyard::test {
namespace {

class AverageForks : public ::testing::TestWithParam<const char*> {
 protected:
  std::string at(const std::string& name) const { return (folder_.path() / name).string(); }
  void go_on(const std::string& name, int64_t last, Layout layout = {}) const {
    train(at(name), "--train-iters " + std::to_string(last), layout);
  }
  void make_main(const std::string& name, int64_t last, const std::string& more) const {
    train(at(name), tiny_path(data_, 4,
                              "--num-layers 2 --hidden-size 32 --num-attention-heads 2 "
                              "--save-interval 2 " +
                                  more + " --train-iters ") +
                        std::to_string(last));
  }
  void average(const std::string& what, const std::string& to) const {
    run_well("average " + what + " --output " + at(to));
  }
  void refuse(const std::string& line, const std::string& part) const {
    const auto outcome = run(words(line));
    EXPECT_EQ(outcome.exit_code, 2) << line;
    EXPECT_NE(outcome.err.find(part), std::string::npos) << outcome.err;
  }

  TemporaryFolder folder_;
  std::string data_ = make_tokens(folder_.path(), "text", 40'000);
};

// A mean of one step with that step's moments is that step, in every precision and layout.
TEST_P(AverageForks, WithTheNewestMomentsOfOneStepAreForksOfIt) {
  make_main("main", 4, GetParam());
  average(at("main") + " --steps 4:4:1", "mean");
  run_well("fork " + at("main") + "@4 " + at("plain") + " --seed 7");
  run_well("fork " + at("mean") + " " + at("branch") + " --seed 7");
  const std::string again = "fork " + at("mean") + "@4 " + at("branch") + " --seed 7";
  EXPECT_NE(run(words(again)).err.find("already"), std::string::npos);
  refuse(again + " --moments fresh", "--moments newest, not fresh");
  for (const char* name : {"plain", "branch"}) go_on(name, 7, {.tp = 2});
  expect_same_steps(at("plain"), at("branch"), 5, 7);
  expect_same_tensors(checkpoint_of(at("plain"), 7), checkpoint_of(at("branch"), 7));
}

TEST_P(AverageForks, WithFreshMomentsBeginAsANewPathDoes) {
  make_main("main", 6, std::string(GetParam()) + " --keep-checkpoints 3");
  average(at("main") + " --steps 2:6:2 --weights-of 1-sqrt", "mean");
  run_well("fork " + at("mean") + " " + at("fresh") + " --moments fresh --lr 1e-3");
  go_on("fresh", 7);
  const auto tensors = tensors_of(checkpoint_of(at("fresh"), 7));
  const auto& counters = tensors.at("/optimizer/counters");
  EXPECT_EQ(*reinterpret_cast<const int64_t*>(counters.data()), 1);  // updates applied
  const auto line = metrics_of(at("fresh")).front();
  EXPECT_EQ(line.at("step"), 7);
  EXPECT_EQ(line.at("samples"), 28);
  EXPECT_EQ(line.at("learning_rate"), 1e-3);
  run_well("replay " + at("fresh") + "@7");
}

INSTANTIATE_TEST_SUITE_P(Precisions, AverageForks, testing::Values("", "--bf16"),
                         [](const auto& each) { return each.index == 0 ? "fp32" : "bf16"; });

using Rescue = AverageForks;

TEST_F(Rescue, TheNewestMemberStaysAndIsFoundWhereItIsMoved) {
  make_main("main", 4, "");
  make_main("other", 4, "--seed 5");
  average(at("main") + "@2 " + at("other") + "@2", "soup");
  run_well("fork " + at("soup") + " " + at("branch"));
  const auto other = at("main") + "@2";
  EXPECT_NE(run_well("inspect " + at("soup")).find("and of " + other), std::string::npos);
  EXPECT_NE(run_well("list " + at("")).find("of 2 and " + other), std::string::npos);
  train(at("other"), "--train-iters 8 --keep-checkpoints 1");
  EXPECT_EQ(saved_steps(at("other")), (std::vector<int64_t>{2, 8}));
  fs::rename(at("other"), at("moved"));
  go_on("branch", 3);
  EXPECT_EQ(metrics_of(at("branch")).front().at("samples"), 12);
  run_well("replay " + at("branch") + "@3");
  fs::remove_all(at("moved"));
  refuse("fork " + at("soup") + " " + at("late"), "--moments fresh is allowed");
  run_well("fork " + at("soup") + " " + at("late") + " --moments fresh");
  refuse("train " + at("soup"), "'fork " + at("soup") + " NEW'");
}

// The path without a fork reads samples 8 ... 15 in the steps 3 and 4; the branch never does.
TEST_F(Rescue, SkippedSamplesAreNeverRead) {
  make_main("main", 4, "--lr 0 --min-lr 0 --hidden-dropout 0 --attention-dropout 0");
  go_on("main", 8);
  run_well("fork " + at("main") + "@2 " + at("branch") + " --skip-samples 8:16");
  go_on("branch", 4);
  train(at("branch"), "--train-iters 6");  // a start of its own reads the same
  const auto losses = [&](const std::string& name, int64_t step) {
    for (const auto& line : metrics_of(at(name))) {
      if (line.at("step") == step) return line.at("loss").get<double>();
    }
    return 0.0;
  };
  for (int64_t step = 3; step <= 6; ++step) {
    EXPECT_EQ(losses("branch", step), losses("main", step + 2)) << step;
  }
  const std::string make = "fork " + at("main") + "@2 " + at("x") + " --skip-samples ";
  refuse(make + "7:9", "begins behind 8 samples");
  for (const char* bad : {"9:9", "9", "10:9", "a:b", "8:9:10", "-1:9"}) {
    refuse(make + bad, std::string("--skip-samples ") + bad);
  }
  refuse("fork " + at("main") + "@2 " + at("branch") + " --skip-samples 8:12",
         "other --skip-samples");
  refuse("extend " + at("branch") + " --skip-samples 8:12", "no option of extend");
  refuse("fork " + at("main") + "@2 " + at("x") + " --moments newest", "over an average");
  EXPECT_FALSE(fs::exists(at("x")));
}

// Every loss that the log has is 100 lower than it was, so the next one spikes.
void lower_recorded_losses(const std::string& run) {
  std::string text;
  for (auto line : metrics_of(run)) {
    line["loss"] = line.at("loss").get<double>() - 100;
    text += line.dump() + "\n";
  }
  std::ofstream(run + "/metrics.jsonl") << text;
}

TEST_F(Rescue, ASpikeStopsUnsavedAndThePrintedCommandsLeadPastIt) {
  make_main("main", 34, "");
  lower_recorded_losses(at("main"));
  const std::string go = at("main") + " --train-iters 36 --on-spike ";
  for (const char* more : {"stop", "stop"}) {  // a start alone does not lead past it
    const auto outcome = run(words("train " + go + more));
    EXPECT_EQ(outcome.exit_code, 3) << outcome.err;
    EXPECT_NE(outcome.err.find("loss of step 35"), std::string::npos) << outcome.err;
    EXPECT_NE(outcome.err.find("samples 136:140"), std::string::npos) << outcome.err;
    std::istringstream lines(outcome.err);
    int commands = 0;
    for (std::string line; std::getline(lines, line);) {
      if (!line.starts_with("  switchyard ")) continue;
      run_well(line.substr(std::string("  switchyard ").size()));
      ++commands;
    }
    EXPECT_EQ(commands, 2) << outcome.err;
  }
  EXPECT_EQ(saved_steps(at("main")).back(), 34);
  EXPECT_EQ(saved_steps(at("main-mean-35")), std::vector<int64_t>{34});  // of 30, 32 and 34
  train(at("main-past-35"), "--train-iters 36");
  train(at("main"), "--train-iters 36 --on-spike warn");
  EXPECT_EQ(metrics_of(at("main")).back().at("spike"), true);
  EXPECT_FALSE(metrics_of(at("main")).front().contains("spike"));
}

}  // namespace
}  // namespace switchyard::test
