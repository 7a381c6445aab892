// Checkpoints that are written while training goes on.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <fstream>
#include <thread>
#include <utility>

#include "tests/support/temporary_folder.h"
#include "tests/tools/paths.h"

namespace fs = std::filesystem;

namespace switchyard::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

class Saving : public testing::Test {
 protected:
  fs::path at(const std::string& name) const { return folder_.path() / name; }
  std::vector<std::string> words_of(const std::string& run, const std::string& more,
                                    Layout layout = {}) const {
    return train_words(at(run), options_ + " " + more, layout);
  }
  Outcome train_on(const std::string& disk, const std::string& run, const std::string& more,
                   Layout layout = {}) const {
    return test::run(words_of(run, more, layout), layout.tp * layout.pp * layout.dp, disk);
  }
  // Some ten times a save.
  static std::string slow(int milliseconds) {
    return "LD_PRELOAD=" SWITCHYARD_SLOW_DISK " SLOW_DISK_MILLISECONDS=" +
           std::to_string(milliseconds);
  }
  static std::string broken(const std::string& name) {
    return slow(20) + " SLOW_DISK_FAILS=" + name;
  }

  TemporaryFolder folder_;
  std::string data_ = make_tokens(folder_.path(), "text", 60'000);
  std::string options_ = tiny_path(data_, 6, "--save-interval 20 --log-interval 1");
};

TEST_F(Saving, steps_go_on_meanwhile_and_no_bit_changes) {
  for (const Layout& layout : {Layout{}, Layout{.tp = 2, .dp = 2}}) {
    const std::string late = "late" + std::to_string(layout.ranks());
    const std::string prompt = "prompt" + std::to_string(layout.ranks());
    const auto outcome = train_on(slow(60), late, "--train-iters 60", layout);
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    ASSERT_EQ(train_on("", prompt, "--train-iters 60 --no-async-save", layout).exit_code, 0);
    EXPECT_LT(outcome.err.find("step 21/"), outcome.err.find("saved step 20 ")) << outcome.err;
    EXPECT_THAT(saved_steps(at(late)), ElementsAre(20, 40, 60));
    for (const int64_t step : {20, 40, 60})
      expect_same_tensors(checkpoint_of(at(late), step), checkpoint_of(at(prompt), step));
    expect_same_steps(at(late), at(prompt), 1, 60);
  }
}

TEST_F(Saving, what_does_not_fit_is_written_first) {
  const std::string more = "--train-iters 20 ";
  const Layout layout{.dp = 2};
  ASSERT_EQ(train_on("", "all", more, layout).exit_code, 0);
  for (const std::string gib : {"0", "0.0005"}) {
    const auto outcome = train_on("", "run" + gib, more + "--save-staging-gib " + gib, layout);
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("the rest is written before training goes on"));
    expect_same_tensors(checkpoint_of(at("run" + gib), 20), checkpoint_of(at("all"), 20));
  }
}

// So that the first save finds it.
TEST_F(Saving, memory_for_copies_is_taken_behind_the_first_step) {
  const auto memory_of = [&](const std::string& run, size_t step) {
    return metrics_of(at(run)).at(step - 1).at("memory_bytes").get<int64_t>();
  };
  ASSERT_EQ(train_on("", "late", "--train-iters 21").exit_code, 0);
  EXPECT_GT(memory_of("late", 2), memory_of("late", 1));
  EXPECT_EQ(memory_of("late", 21), memory_of("late", 2));
  ASSERT_EQ(train_on("", "prompt", "--train-iters 3 --no-async-save").exit_code, 0);
  EXPECT_EQ(memory_of("prompt", 2), memory_of("prompt", 1));
}

TEST_F(Saving, some_ranks_of_a_node_may_write_for_all) {
  const Layout layout{.dp = 3};
  const std::string more = "--train-iters 20 ";
  ASSERT_EQ(train_on("", "all", more, layout).exit_code, 0);
  for (const int writers : {1, 2}) {
    const std::string run = "of" + std::to_string(writers);
    const auto outcome =
        train_on("", run, more + "--save-writers-per-node " + std::to_string(writers), layout);
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    expect_same_tensors(checkpoint_of(at(run), 20), checkpoint_of(at("all"), 20));
    const auto files = fs::directory_iterator(checkpoint_of(at(run), 20) / "shards");
    EXPECT_EQ(std::distance(begin(files), end(files)), 2 * writers);
    run_well("inspect " + at(run).string() + " --verify");
  }
  const auto refused = train_on("", "none", more + "--save-writers-per-node 5", layout);
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_THAT(refused.err, HasSubstr("--save-writers-per-node 5; the node of rank 0"));
  EXPECT_FALSE(fs::exists(at("none")));
}

// What the others have written goes with it.
TEST_F(Saving, a_failed_write_into_shared_files_ends_all_ranks) {
  const auto outcome = train_on(broken("step-00000040"), "run",
                                "--train-iters 100000 --save-writers-per-node 1", {.dp = 3});
  EXPECT_EQ(outcome.exit_code, 5) << outcome.err;
  EXPECT_THAT(saved_steps(at("run")), ElementsAre(20));
  EXPECT_FALSE(fs::exists(checkpoint_of(at("run"), 40))) << outcome.err;
}

TEST_F(Saving, a_signal_waits_for_the_save_before) {
  Program program(words_of("run", "--train-iters 100000"), 1, slow(150));
  ASSERT_TRUE(
      wait_until([&] { return program.errors_so_far().find("step 21/") != std::string::npos; }, 60))
      << program.errors_so_far();
  kill(program.pid(), SIGUSR1);
  const auto outcome = program.wait();
  EXPECT_EQ(outcome.exit_code, 75) << outcome.err;
  const auto last = metrics_of(at("run")).back().at("step").get<int64_t>();
  const auto saved = saved_steps(at("run"));
  ASSERT_GE(saved.size(), 2u) << outcome.err;
  EXPECT_EQ(saved.front(), 20);
  EXPECT_EQ(saved.back(), last);
  run_well("inspect " + at("run").string() + " --verify");
}

// The next step hears of it, on every rank; its line does not bury the error.
TEST_F(Saving, a_failed_write_ends_the_run_with_older_checkpoints_whole) {
  for (const Layout& layout : {Layout{}, Layout{.dp = 2}}) {
    const std::string run = "run" + std::to_string(layout.ranks());
    const auto outcome = train_on(broken("step-00000040"), run, "--train-iters 100000", layout);
    EXPECT_EQ(outcome.exit_code, 5) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("step-00000040"));
    EXPECT_THAT(outcome.err, Not(HasSubstr("saved step 40 ")));
    const size_t error = outcome.err.find("switchyard: [checkpoint] ");
    ASSERT_NE(error, std::string::npos) << outcome.err;
    EXPECT_THAT(outcome.err.substr(error), Not(HasSubstr(" step "))) << outcome.err;
    EXPECT_THAT(saved_steps(at(run)), ElementsAre(20));
    EXPECT_FALSE(fs::exists(checkpoint_of(at(run), 40))) << outcome.err;
    run_well("inspect " + at(run).string() + "@20 --verify");
    ASSERT_EQ(train_on("", run, "--train-iters 60", layout).exit_code, 0);
    expect_whole_log(at(run), 1, 60);
  }
}

// Not only when the others' disks, which may be slow, have written what is for nothing.
TEST_F(Saving, no_step_is_made_behind_a_failed_write_while_others_still_write) {
  const std::string until = at("until").string();
  const auto options = tiny_path(data_, 6, "--save-interval 200 --train-iters 1000000");
  Program program(train_words(at("run"), options, {.dp = 2}), 2,
                  broken("step-00000200/shards/rank-00001") +
                      " SLOW_DISK_WAITS=step-00000200/shards/rank-00000 SLOW_DISK_UNTIL=" + until);
  size_t lines = 0;
  const auto stands = [&] {
    const size_t before = std::exchange(lines, metrics_of(at("run")).size());
    std::this_thread::sleep_for(std::chrono::seconds(1));
    return before >= 200 && lines == before;
  };
  EXPECT_TRUE(wait_until(stands, 100));
  EXPECT_LT(lines, 400);  // where it waits for the save before, whatever became of it
  EXPECT_TRUE(program.running());
  std::ofstream(until) << "";
  const auto outcome = program.wait();
  EXPECT_EQ(outcome.exit_code, 5) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("rank-00001"));
  EXPECT_THAT(saved_steps(at("run")), ElementsAre());
}

TEST_F(Saving, the_events_of_a_saved_step_are_on_the_disk) {
  const auto outcome = train_on(broken("tfevents"), "run",
                                "--train-iters 20 --tensorboard " + at("events").string());
  EXPECT_EQ(outcome.exit_code, 5) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("tfevents"));
  EXPECT_THAT(saved_steps(at("run")), ElementsAre());
}

TEST_F(Saving, the_last_save_fails_the_run) {
  const auto outcome = train_on(broken("step-00000030"), "run", "--train-iters 30");
  EXPECT_EQ(outcome.exit_code, 5) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("Input/output error")) << outcome.err;
  EXPECT_THAT(saved_steps(at("run")), ElementsAre(20));
}

TEST_F(Saving, the_cause_of_a_failed_master_is_said) {
  const auto outcome = train_on(broken("checkpoint.h5"), "run", "--train-iters 20");
  EXPECT_EQ(outcome.exit_code, 5) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("checkpoint.h5.tmp to the disk: Input/output error"));
  EXPECT_THAT(saved_steps(at("run")), ElementsAre());
}

}  // namespace
}  // namespace switchyard::test
