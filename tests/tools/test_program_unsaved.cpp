// Forks of steps that are not saved: made again from an earlier one, held against the record.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <random>

#include "core/files.h"
#include "launch/path/pins.h"
#include "launch/path/run_folder.h"
#include "tests/support/temporary_folder.h"
#include "tests/tools/paths.h"
#include "tests/tools/refusal.h"

namespace fs = std::filesystem;

namespace switchyard::test {
namespace {

constexpr Layout tp{.tp = 2, .pp = 1}, pp{.tp = 1, .pp = 2};

class Unsaved : public ::testing::Test {
 protected:
  std::string at(const std::string& name) const { return (folder_.path() / name).string(); }
  std::string point(const std::string& name, int64_t step) const {
    return at(name) + "@" + std::to_string(step);
  }
  std::string fork(const std::string& name, int64_t step, const std::string& child,
                   const std::string& options = "") const {
    const auto outcome = run(words("fork " + point(name, step) + " " + at(child) + " " + options));
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return outcome.err;
  }
  ReplayedFrom replayed(const std::string& name) const {
    const auto path = RunFolder(at(name)).read();
    return path.lineage.back().replayed.value_or(ReplayedFrom{});
  }
  void expect_same(const std::string& a, const std::string& b, int64_t step) const {
    expect_same_tensors(checkpoint_of(at(a), step), checkpoint_of(at(b), step));
  }
  void edit(const std::string& file, const std::string& from, const std::string& to) const {
    std::string text = read_file(at(file));
    const size_t place = text.find(from);
    ASSERT_NE(place, std::string::npos) << from << " in " << text;
    write_file_atomically(at(file), text.replace(place, from.size(), to));
  }
  // The same lineage twice: a fork at step 4, new data behind step 8, another layout behind
  // step 18. "every" has saved each step, "main" few.
  void make_lineages(const std::string& precision) const {
    for (const std::string name : {"every", "main"}) {
      const std::string base = name + "-base", saves = name == "main" ? "4" : "1";
      train(at(base),
            tiny_path(data_, 4,
                      precision + " --num-layers 2 --micro-batch-size 2 --save-interval " + saves +
                          " --train-iters 6"),
            tp);
      fork(base, 4, name, "--lr 2e-3 --seed 77 --global-batch-size 6");
      run_well("extend " + at(name) + " --at-step 8 --data-path " + more_);
      const std::string go = "--micro-batch-size 2 --save-interval " + saves + " --train-iters ";
      train(at(name), go + "18", tp);
      train(at(name), go + "30", pp);
    }
  }

  // From the random start through two forks, over other batches, seeds and rates: nothing is left
  // saved.
  void expect_reached_through_the_lineage() const {
    for (const char* name : {"main", "main-base"}) fs::remove_all(at(name) + "/checkpoints");
    const auto said = fork("main", 9, "child");
    EXPECT_NE(said.find("the random start, makes 9 steps again"), std::string::npos) << said;
    EXPECT_EQ(fork("main", 9, "child").find("makes"), std::string::npos);  // already so
    fs::rename(at("main-base"), at("elsewhere"));  // it is not needed any more
    train(at("child"), "--micro-batch-size 2 --train-iters 10", tp);
    EXPECT_EQ(replayed("child").outcome, "exact");
    expect_same("every", "child", 9);
    expect_same("every", "child", 10);
    fork("child", 9, "grandchild");
    train(at("grandchild"), "--micro-batch-size 2 --train-iters 10", tp);
    expect_same("every", "grandchild", 10);
  }

  void expect_close_on_another_layout() const {
    fork("main", 26, "child");
    train(at("child"), "--micro-batch-size 1 --train-iters 27", {.dp = 2});
    EXPECT_EQ(replayed("child").outcome, "approximate");
    EXPECT_NE(replayed("child").difference.find("loss within"), std::string::npos);
    const auto shown = run_well("inspect " + at("child@27"));
    EXPECT_NE(shown.find("approximate"), std::string::npos) << shown;
    // Behind a change of layout that was not saved nothing is exact.
    fs::remove_all(at("main") + "/checkpoints/step-00000018");
    fs::remove_all(at("main") + "/checkpoints/step-00000020");
    fork("main", 19, "behind");
    train(at("behind"), "--micro-batch-size 2 --train-iters 20", pp);
    EXPECT_EQ(replayed("behind").outcome, "approximate");
  }

  const TemporaryFolder folder_;
  const std::string data_ = make_tokens(folder_.path(), "text", 60'000);
  const std::string more_ = make_tokens(folder_.path(), "more", 40'000, 7);
};

TEST_F(Unsaved, steps_drawn_at_random_have_the_bits_of_saved_ones) {
  const auto seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  for (const std::string precision : {"", "--bf16"}) {
    make_lineages(precision);
    std::vector<int64_t> steps;
    for (int64_t step = 5; step < 30; ++step) {
      if (!RunFolder(at("main")).has(step)) steps.push_back(step);
    }
    std::ranges::shuffle(steps, random);
    for (int i = 0; i < 10; ++i) {
      const auto step = steps[static_cast<size_t>(i)];
      SCOPED_TRACE(precision + " step " + std::to_string(step));
      const std::string child = "child" + std::to_string(i);
      fork("main", step, child, "--min-lr 1e-6");
      train(at(child), "--micro-batch-size 2 --train-iters " + std::to_string(step + 1),
            step <= 18 ? tp : pp);
      expect_same("every", child, step);
      EXPECT_EQ(replayed(child).outcome, "exact");
      EXPECT_TRUE(read_pins(at("main")).empty());
      fs::remove_all(at(child));
    }
    precision.empty() ? expect_close_on_another_layout() : expect_reached_through_the_lineage();
    for (const char* name : {"every", "main", "every-base", "main-base", "child", "behind"}) {
      fs::remove_all(at(name));
    }
  }
}

TEST_F(Unsaved, steps_that_differ_stop_unless_accepted) {
  train(at("main"), tiny_path(data_, 4, "--save-interval 3 --train-iters 8"));
  const std::string record = read_file(at("main/metrics.jsonl"));
  edit("main/metrics.jsonl", R"("step":5,"start":1,"loss":)", R"("step":5,"start":1,"loss":1)");
  fork("main", 5, "child");
  fork("main", 5, "other");
  write_file_atomically(at("main/metrics.jsonl"), record);
  const std::string go = " --train-iters 6";
  expect_refused("train " + at("child") + go, {"step 5 of", "loss", "in the record", "same bits"},
                 1, 4);
  expect_refused("train " + at("child") + go + " --tp 2", {"step 5 of", "difference of 0.01"}, 2,
                 4);
  EXPECT_TRUE(saved_steps(at("child")).empty());
  EXPECT_EQ(read_pins(at("main")).size(), 2u);
  train(at("child"), go + " --accept-replay");
  EXPECT_EQ(replayed("child").outcome, "accepted");
  EXPECT_NE(replayed("child").difference.find("step 5 has loss"), std::string::npos);
  EXPECT_EQ(read_pins(at("main")).size(), 1u);
  fs::remove_all(at("main") + "/checkpoints/step-00000003");
  expect_refused("train " + at("other") + go, {"step 3"}, 1, 5);
}

// The parent goes on, is killed and loses its unsaved steps: the branch has their record.
TEST_F(Unsaved, steps_need_no_more_of_the_parent_than_a_checkpoint) {
  train(at("main"), tiny_path(data_, 4, "--save-interval 4 --train-iters 11"));
  fork("main", 10, "child");
  train(at("main"), "--load-step 8 --train-iters 9 --keep-checkpoints 1");
  EXPECT_EQ(saved_steps(at("main")), (std::vector<int64_t>{8, 9}));  // pinned
  const auto lines = metrics_of(at("main"));
  EXPECT_EQ(lines.back().at("step"), 9);
  train(at("child"), "--train-iters 11");
  EXPECT_EQ(replayed("child").outcome, "exact");
  train(at("main"), "--train-iters 12");
  EXPECT_EQ(saved_steps(at("main")), (std::vector<int64_t>{12}));
  expect_same_steps(at("main"), at("child"), 11, 11);
}

// Data that moved before the first start, and checkpoints that are damaged.
TEST_F(Unsaved, steps_are_made_from_what_is_left) {
  train(at("main"), tiny_path(data_, 4, "--save-interval 3 --train-iters 10"));
  fork("main", 8, "child");
  for (const char* part : {".bin", ".idx", ".json"}) fs::rename(data_ + part, data_ + "-2" + part);
  train(at("child"), "--train-iters 9 --data-path " + data_ + "-2");
  EXPECT_EQ(replayed("child").outcome, "exact");
  EXPECT_FALSE(fs::exists(at("child") + "/replay.json"));
  expect_same_steps(at("main"), at("child"), 9, 9);
  train(at("main"), "--train-iters 11 --data-path " + data_ + "-2");  // which the path then has
  fs::resize_file(checkpoint_of(at("main"), 6) / "checkpoint.h5", 1000);
  const auto said = fork("main", 8, "other");
  EXPECT_NE(said.find("goes on from step 3"), std::string::npos) << said;
  train(at("other"), "--train-iters 9");
  expect_same("child", "other", 9);
}

TEST_F(Unsaved, steps_are_begun_anew_behind_a_signal) {
  train(at("main"), tiny_path(data_, 2, "--train-iters 400"));
  fs::remove_all(at("main") + "/checkpoints");
  fork("main", 400, "child");
  {
    Program program(train_words(at("child"), "--train-iters 401"));
    ASSERT_TRUE(wait_until(
        [&] { return program.errors_so_far().find("makes 400 steps") != std::string::npos; }, 20));
    kill(program.pid(), SIGUSR1);
    const auto outcome = program.wait();
    EXPECT_EQ(outcome.exit_code, 75) << outcome.err;
  }
  EXPECT_TRUE(saved_steps(at("child")).empty());
  train(at("child"), "--train-iters 401");
  EXPECT_EQ(replayed("child").outcome, "exact");
}

}  // namespace
}  // namespace switchyard::test
