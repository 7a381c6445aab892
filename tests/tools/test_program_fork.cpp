// Branches: their parent's bits, their own schedule, data, batch and layout.
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "core/files.h"
#include "launch/path/run_folder.h"
#include "tests/support/temporary_folder.h"
#include "tests/tools/paths.h"

namespace fs = std::filesystem;

namespace switchyard::test {
namespace {

class Fork : public ::testing::Test {
 protected:
  fs::path at(const std::string& name) const { return folder_.path() / name; }
  std::string fork_point(const std::string& name, int64_t step) const {
    return at(name).string() + "@" + std::to_string(step);
  }
  void fork(const std::string& parent, int64_t step, const std::string& child,
            const std::string& options = "") const {
    run_well("fork " + fork_point(parent, step) + " " + at(child).string() + " " + options);
  }
  void go_on(const std::string& name, int64_t last, Layout layout = {}) const {
    train(at(name), "--save-interval 4 --train-iters " + std::to_string(last), layout);
  }
  // The main path, saved every 4 steps; its warm-up ends at step 10.
  void make_main(int64_t last, const std::string& options = "") const {
    train(at("main"), tiny_path(data_, 6) + " --train-iters " + std::to_string(last) +
                          " --min-lr 1e-5 " + options);
  }
  void expect_same_end(const std::string& a, const std::string& b, int64_t step) const {
    expect_same_tensors(checkpoint_of(at(a), step), checkpoint_of(at(b), step));
  }
  double rate(const std::string& name, int64_t step) const {
    for (const auto& line : metrics_of(at(name))) {
      if (line.at("step") == step) return line.at("learning_rate");
    }
    ADD_FAILURE() << "no step " << step << " in " << name;
    return 0;
  }
  // The branch's rates are min + (lr(F) - min) f(n / steps), to the last bit; and it ends there.
  void expect_decay(const std::string& name, int64_t from, double start, int64_t steps,
                    double (*f)(double)) const {
    const double minimum = 1e-5;
    expect_whole_log(at(name), from + 1, from + steps);
    for (int64_t n = 1; n <= steps; ++n) {
      const double x = static_cast<double>(n) / static_cast<double>(steps);
      const double expected = n == steps ? minimum : minimum + (start - minimum) * f(x);
      EXPECT_EQ(rate(name, from + n), expected) << name << ", step " << from + n;
    }
  }

  TemporaryFolder folder_;
  std::string data_ = make_tokens(folder_.path(), "text", 60'000);
};

double cosine(double x) { return (1 + std::cos(std::numbers::pi * x)) / 2; }
double linear(double x) { return 1 - x; }
double one_minus_sqrt(double x) { return 1 - std::sqrt(x); }

TEST_F(Fork, with_its_parents_schedule_has_its_parents_bits) {
  make_main(8);
  go_on("main", 20);
  for (const int64_t step : {8, 12}) {
    const std::string name = "branch" + std::to_string(step);
    fork("main", step, name);
    go_on(name, 20);
    expect_whole_log(at(name), step + 1, 20);
    expect_same_steps(at("main"), at(name), step + 1, 20);
    for (int64_t saved = step + 4; saved <= 20; saved += 4) {
      expect_same_tensors(checkpoint_of(at("main"), saved), checkpoint_of(at(name), saved));
    }
  }
}

TEST_F(Fork, of_a_fork_has_their_bits_and_lineage) {
  make_main(4);
  go_on("main", 16);
  fork("main", 4, "child");
  go_on("child", 8);
  fork("child", 8, "grandchild");
  go_on("grandchild", 16);
  expect_same_steps(at("main"), at("grandchild"), 9, 16);
  expect_same_end("main", "grandchild", 16);
  const auto path = RunFolder(at("grandchild")).read();
  ASSERT_EQ(path.lineage.size(), 2u);
  EXPECT_EQ(path.lineage[0].step, 4);
  EXPECT_EQ(path.lineage[1].step, 8);
  EXPECT_EQ(path.lineage[1].path, "../child");
  EXPECT_EQ(path.lineage[1].samples, 48);
}

TEST_F(Fork, decays_by_the_formula_and_stops_at_the_end) {
  make_main(16);
  fork("main", 16, "cosine", "--lr-decay-style cosine --lr-decay-iters 9");
  fork("main", 16, "linear", "--lr-decay-style linear --lr-decay-iters 7");
  fork("main", 16, "sqrt", "--lr-decay-style 1-sqrt --lr-decay-iters 6");
  for (const char* name : {"cosine", "linear", "sqrt"}) train(at(name), "--save-interval 0");
  expect_decay("cosine", 16, 1e-3, 9, cosine);
  expect_decay("linear", 16, 1e-3, 7, linear);
  expect_decay("sqrt", 16, 1e-3, 6, one_minus_sqrt);
  EXPECT_EQ(saved_steps(at("cosine")), std::vector<int64_t>{25});
}

TEST_F(Fork, during_warm_up_finishes_it_before_the_decay) {
  make_main(4);
  fork("main", 4, "branch", "--lr-decay-style linear --lr-decay-iters 11");
  train(at("branch"), "");
  for (int64_t step = 5; step <= 10; ++step) {
    EXPECT_EQ(rate("branch", step), 1e-3 * (static_cast<double>(step) / 10.0));
  }
  for (int64_t n = 1; n <= 5; ++n) {
    EXPECT_NEAR(rate("branch", 10 + n), 1e-5 + (1e-3 - 1e-5) * linear(n / 5.0), 1e-18);
  }
  expect_whole_log(at("branch"), 5, 15);
}

TEST_F(Fork, of_the_random_start_needs_nothing_saved) {
  make_main(3);
  fs::remove_all(at("main") / "checkpoints");
  fork("main", 0, "same");
  fork("same", 0, "again", "--seed 5");
  fork("main", 0, "still", "--lr 0 --min-lr 0 --seed 6");
  const std::string inspected = run_well("inspect " + at("main").string());
  for (const char* name : {"same", "still"})
    EXPECT_NE(inspected.find("step 0 for " + at(name).string()), std::string::npos) << inspected;
  for (const char* name : {"same", "again", "still"}) go_on(name, 3);
  expect_same_steps(at("main"), at("same"), 1, 3);
  EXPECT_NE(metrics_of(at("again"))[0].at("loss"), metrics_of(at("same"))[0].at("loss"));
  // At a rate of 0 the weights stay the initial ones: those of the lineage's first seed.
  train(at("zero"), tiny_path(data_, 6, "--train-iters 1 --lr 0"));
  const auto start = tensors_of(checkpoint_of(at("zero"), 1));
  const auto still = tensors_of(checkpoint_of(at("still"), 3));
  for (const auto& [name, bytes] : start) {
    if (!name.starts_with("/model/")) continue;
    EXPECT_TRUE(bytes == still.at(name)) << name;
  }
  run_well("inspect " + at("again").string());
  run_well("eval " + at("again").string() + " --data-path " + data_);
  fork("same", 3, "later", "--lr-decay-style linear --lr-decay-iters 9");
  const auto refused = run(words("fork " + fork_point("later", 0) + " " + at("none").string()));
  EXPECT_NE(refused.err.find("begins at step 3"), std::string::npos) << refused.err;
}

TEST_F(Fork, with_another_seed_reads_what_is_left_of_the_epoch) {
  const auto few = make_tokens(folder_.path(), "few", 32 * 50 + 1);
  train(at("main"), tiny_path(few, 10, "--train-iters 2"));
  // At a rate of 0 a rest of the epoch has one mean loss, whatever its order.
  const std::string still = " --lr 0 --hidden-dropout 0 --attention-dropout 0";
  fork("main", 2, "same", still);
  fork("main", 2, "other", "--seed 5" + still);
  const auto mean = [&](const std::string& name) {
    train(at(name), "--train-iters 5");
    double sum = 0;
    for (const auto& line : metrics_of(at(name))) sum += line.at("loss").get<double>() / 3;
    return sum;
  };
  EXPECT_NEAR(mean("same"), mean("other"), 1e-6);
  EXPECT_NE(metrics_of(at("same"))[0].at("loss"), metrics_of(at("other"))[0].at("loss"));
}

TEST_F(Fork, stopped_and_continued_repeats_its_bits) {
  make_main(4);
  for (const char* name : {"whole", "stopped"}) {
    fork("main", 4, name, "--lr-decay-style cosine --lr-decay-iters 12");
  }
  go_on("stopped", 6);
  go_on("stopped", 11);
  train(at("stopped"), "");
  train(at("whole"), "");
  expect_whole_log(at("stopped"), 5, 16);
  expect_same_steps(at("whole"), at("stopped"), 5, 16);
  expect_same_end("whole", "stopped", 16);
  train(at("stopped"), "--load-step 4");  // back to the fork point
  expect_same_steps(at("whole"), at("stopped"), 5, 16);
  expect_same_end("whole", "stopped", 16);
}

TEST_F(Fork, reads_what_its_parent_is_extended_with) {
  const auto more = make_tokens(folder_.path(), "more", 40'000, 7);
  make_main(8);
  fork("main", 8, "before", "--data-path " + more);
  fork("main", 8, "old");
  run_well("extend " + at("main").string() + " --at-step 8 --data-path " + more);
  fork("main", 8, "inherits");
  fork("main", 8, "after", "--data-path " + more);
  for (const char* name : {"main", "before", "inherits", "after", "old"}) go_on(name, 14);
  EXPECT_NE(metrics_of(at("old"))[0].at("loss"), metrics_of(at("before"))[0].at("loss"));
  for (const char* name : {"before", "inherits", "after"}) {
    expect_same_steps(at("main"), at(name), 9, 14);
    expect_same_end("main", name, 14);
  }
}

TEST_F(Fork, with_another_batch_reads_on_where_its_parent_stood) {
  train(at("main"),
        tiny_path(data_, 6, "--train-iters 8 --hidden-dropout 0 --attention-dropout 0"));
  // At a rate of 0 the weights stay, so two steps of 6 samples score what one of 12 does.
  fork("main", 8, "same", "--lr 0");
  fork("main", 8, "twice", "--lr 0 --global-batch-size 12");
  go_on("same", 12);
  go_on("twice", 10, {.dp = 2});
  const auto same = metrics_of(at("same")), twice = metrics_of(at("twice"));
  ASSERT_EQ(same.size(), 4u);
  ASSERT_EQ(twice.size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(twice[i].at("samples"), same[2 * i + 1].at("samples"));
    const double mean =
        (same[2 * i].at("loss").get<double>() + same[2 * i + 1].at("loss").get<double>()) / 2;
    EXPECT_NEAR(twice[i].at("loss").get<double>(), mean, 1e-6 * mean);
  }
  EXPECT_NE(same[0].at("loss"), same[1].at("loss"));
}

TEST_F(Fork, goes_on_when_the_sets_of_several_stages_moved) {
  make_main(4);
  const auto more = make_tokens(folder_.path(), "more", 40'000, 7);
  run_well("extend " + at("main").string() + " --at-step 6 --data-path " + more);
  for (const auto& prefix : {data_, more}) {
    for (const char* part : {".bin", ".idx", ".json"}) {
      fs::rename(prefix + part, prefix + "-moved" + part);
    }
  }
  const auto refused =
      run(train_words(at("main"), "--train-iters 8 --data-path " + data_ + "-moved"));
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_NE(refused.err.find(more), std::string::npos) << refused.err;
  train(at("main"), "--train-iters 8 --data-path " + more + "-moved");
  go_on("main", 9);
  expect_whole_log(at("main"), 1, 9);
}

TEST_F(Fork, and_its_parent_go_on_without_data_that_are_past) {
  const auto more = make_tokens(folder_.path(), "more", 40'000, 7);
  make_main(8);
  run_well("extend " + at("main").string() + " --at-step 8 --data-path " + more);
  for (const char* part : {".bin", ".idx", ".json"}) fs::remove(data_ + part);
  train(at("main"), "--data-path " + data_ + " --train-iters 10");  // a script's words
  fork("main", 10, "branch");
  go_on("branch", 12);
  run_well("extend " + at("main").string() + " --at-step 12 --data-path " + more);
  run_well("plan " + at("main").string());
  go_on("main", 14);
  EXPECT_EQ(RunFolder(at("main")).read().stages.size(), 3u);
}

TEST_F(Fork, in_another_layout_is_the_same_branch) {
  make_main(12);
  for (const char* name : {"serial", "cube"}) {
    fork("main", 12, name, "--lr-decay-style 1-sqrt --lr-decay-iters 20");
  }
  train(at("serial"), "");
  train(at("cube"), "", {.tp = 2, .dp = 2, .pp = 2});
  expect_close_steps(at("serial"), at("cube"), 13, 32);
}

TEST_F(Fork, points_are_never_deleted) {
  make_main(4);
  go_on("main", 8);
  fork("main", 4, "branch");
  train(at("main"), "--save-interval 2 --keep-checkpoints 2 --train-iters 14");
  EXPECT_EQ(saved_steps(at("main")), (std::vector<int64_t>{4, 12, 14}));
  const auto back = run(train_words(at("main"), "--load-step 12 --train-iters 14"));
  EXPECT_EQ(back.exit_code, 0) << back.err;
  fork("main", 14, "late");
  const auto refused = run(train_words(at("main"), "--load-step 12 --train-iters 14"));
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_NE(refused.err.find("fork point"), std::string::npos) << refused.err;
  EXPECT_EQ(saved_steps(at("main")), (std::vector<int64_t>{4, 12, 14}));
  go_on("branch", 6);
}

// A link above, at or between either folder, seen at the fork, at the start or at both.
TEST_F(Fork, finds_its_parent_through_links) {
  make_main(4);
  go_on("main", 8);
  fs::create_directories(at("disk/deep"));
  fs::create_directory_symlink(at("disk/deep"), at("behind"));
  fs::create_directory_symlink(folder_.path(), at("disk/everything"));
  fs::create_directory_symlink(at("main"), at("disk/deep/parent"));
  fork("main", 4, "behind/child");
  fork("disk/deep/parent", 4, "plain");
  fork("behind/parent", 4, "disk/everything/other");
  for (const char* name : {"behind/child", "plain", "other"}) go_on(name, 6);
  fork("disk/everything/behind/child", 6, "grandchild");
  fs::rename(at("main"), at("disk/main"));  // the link left in its place is as good
  fs::create_directory_symlink(at("disk/main"), at("main"));
  go_on("disk/everything/grandchild", 8);
  expect_same_end("main", "grandchild", 8);
  train(at("main"), "--keep-checkpoints 1 --train-iters 9");
  EXPECT_EQ(saved_steps(at("main")), (std::vector<int64_t>{4, 9}));
}

TEST_F(Fork, and_its_parent_may_be_moved_together) {
  make_main(4);
  fs::create_directories(at("disk"));
  fs::create_directories(at("runs"));
  fs::rename(at("main"), at("disk/main"));
  fs::create_directory_symlink(at("disk/main"), at("runs/main"));
  fork("runs/main", 4, "runs/child");
  fs::create_directories(at("a/b"));
  fs::rename(at("runs"), at("a/b/runs"));
  go_on("a/b/runs/child", 6);
  fs::rename(at("a/b/runs"), at("runs"));
  train(at("runs/child"), "--load-step 4 --train-iters 6");
}

TEST_F(Fork, of_a_parent_that_cannot_be_written_keeps_its_fork_point) {
  make_main(4);
  go_on("main", 8);
  write_file_atomically(at("main/pins"), "not a folder");
  const auto made = run(words("fork " + fork_point("main", 4) + " " + at("branch").string()));
  EXPECT_EQ(made.exit_code, 0) << made.err;
  EXPECT_NE(made.err.find("nothing keeps step 4"), std::string::npos) << made.err;
  go_on("branch", 6, {.dp = 2});
  EXPECT_EQ(saved_steps(at("branch")), (std::vector<int64_t>{4, 6}));
  expect_same_end("main", "branch", 4);
  fs::rename(at("main"), at("gone"));
  train(at("branch"), "--load-step 4 --train-iters 8");
  expect_same_steps(at("gone"), at("branch"), 5, 8);
  fork("branch", 4, "grandchild");
  go_on("grandchild", 8);
  expect_same_end("branch", "grandchild", 8);
}

TEST_F(Fork, given_again_is_there_already) {
  const auto more = make_tokens(folder_.path(), "more", 40'000, 7);
  make_main(4);
  const std::string again =
      "fork " + fork_point("main", 4) + " " + at("branch").string() + " --data-path " + more;
  run_well(again);
  go_on("branch", 6);
  run_well("extend " + at("branch").string() + " --at-step 7 --data-path " + data_);
  const std::string before = read_file(at("branch/path.json"));
  for (int i = 0; i < 2; ++i) {
    EXPECT_NE(run(words(again)).err.find("already"), std::string::npos);
    const auto extended =
        run(words("extend " + at("branch").string() + " --at-step 7 --data-path " + data_));
    EXPECT_EQ(extended.exit_code, 0);
    EXPECT_NE(extended.err.find("already"), std::string::npos) << extended.err;
    go_on("branch", 9);  // an extension that lies behind is there already, too
  }
  EXPECT_EQ(read_file(at("branch/path.json")), before);
}

TEST_F(Fork, refuses_what_would_be_dropped) {
  make_main(8);
  const auto expect_refused = [&](const std::string& line, const std::string& part) {
    const auto outcome = run(words(line));
    EXPECT_EQ(outcome.exit_code, 2) << line;
    EXPECT_NE(outcome.err.find(part), std::string::npos) << outcome.err;
  };
  const std::string make = "fork " + fork_point("main", 8) + " " + at("branch").string();
  expect_refused(make + " --lr-decay-style cosine --lr-decay-iters 2", "warm-up lasts to step 10");
  expect_refused(make + " --lr-decay-style cosine --lr-decay-iters 5 --min-lr 1e-3 --lr 1e-3",
                 "above its minimum");
  expect_refused(make + " --lr-decay-style cosine", "--lr-decay-iters");
  expect_refused(make + " --hidden-size 32", "--hidden-size");
  expect_refused("fork " + fork_point("main", 9) + " " + at("branch").string(), "its last is 8");
  expect_refused("train " + at("new").string() + " " + tiny_path(data_, 6) + " --load-step 5",
                 "--load-step");
  EXPECT_FALSE(fs::exists(at("branch")));
  EXPECT_FALSE(fs::exists(at("new")));
}

}  // namespace
}  // namespace switchyard::test
