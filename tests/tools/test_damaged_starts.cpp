// Starts that would go on from what `verify` calls damaged.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/support/temporary_folder.h"
#include "tests/tools/paths.h"

namespace fs = std::filesystem;

namespace switchyard::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class DamagedStarts : public testing::Test {
 protected:
  fs::path at(const std::string& name) const { return folder_.path() / name; }
  void make(const std::string& run, const std::string& more) const {
    train(at(run), tiny_path(data_, 6, "--save-interval 2 " + more));
  }
  void expect_damaged(const std::string& run, const std::string& why) const {
    const auto outcome = test::run({"verify", at(run).string()});
    EXPECT_EQ(outcome.exit_code, 5) << outcome.out << outcome.err;
    EXPECT_THAT(outcome.out, HasSubstr(why));
  }
  // Of a step's files, beside bits that are flipped.
  void damage(const std::string& run, int64_t step, const std::string& how) const {
    const fs::path folder = checkpoint_of(at(run), step);
    if (how == "cut shard") fs::resize_file(folder / "shards/rank-00000.h5", 20'000);
    if (how == "no moments") fs::remove(folder / "shards/rank-00000.moments.h5");
    if (how == "cut master") fs::resize_file(folder / "checkpoint.h5", 300);
    if (how == "no master") fs::remove(folder / "checkpoint.h5");
    if (how == "no step") fs::remove_all(folder);
  }
  Outcome start(const std::string& run, const std::string& more = "--train-iters 6") const {
    return test::run(words("train " + at(run).string() + " " + more));
  }
  TemporaryFolder folder_;
  std::string data_ = make_tokens(folder_.path(), "text", 60'000);
};

TEST_F(DamagedStarts, no_training_goes_on_with_a_member_of_another_run) {
  for (const std::string run : {"run", "other"})
    make(run, "--train-iters 6 --average lawa:k=2,every=2");
  fs::remove_all(checkpoint_of(at("run"), 4));
  fs::copy(checkpoint_of(at("other"), 4), checkpoint_of(at("run"), 4), fs::copy_options::recursive);
  expect_damaged("run@6", "its averages need checkpoint");
  const auto refused = test::run(words("train " + at("run").string() + " --train-iters 8"));
  EXPECT_EQ(refused.exit_code, 5) << refused.err;
  EXPECT_THAT(refused.err, AllOf(HasSubstr("of step 4 among its members"), HasSubstr("is there")));
}

// No matter whether the goal asks for steps behind it.
TEST_F(DamagedStarts, no_goal_is_reached_by_a_step_that_cannot_be_read) {
  make("run", "--train-iters 6");
  const std::string run = "train " + at("run").string() + " --train-iters ";
  const auto expect_refused = [&](const std::string& goal, const std::string& why) {
    const auto outcome = test::run(words(run + goal));
    EXPECT_EQ(outcome.exit_code, 5) << goal << outcome.err;
    EXPECT_THAT(outcome.err, AllOf(HasSubstr(why), HasSubstr("the newest good one is step 4")));
  };
  EXPECT_EQ(test::run(words(run + "6")).exit_code, 0);
  const auto newest = checkpoint_of(at("run"), 6), moved = newest.parent_path() / "step-00000008";
  fs::rename(newest, moved);
  for (const std::string goal : {"8", "10"}) expect_refused(goal, "step-00000008 holds step 6");
  fs::rename(moved, newest);
  fs::resize_file(newest / "checkpoint.h5", 0);
  for (const std::string goal : {"6", "8"}) expect_refused(goal, "checkpoint.h5");
}

// Nor is it counted by what only looks; what older steps are is not looked at.
TEST_F(DamagedStarts, a_newest_step_under_another_name_counts_nowhere) {
  make("run", "--train-iters 6");
  const auto newest = checkpoint_of(at("run"), 6), moved = newest.parent_path() / "step-00000008";
  fs::rename(newest, moved);
  const std::string why = "step 8 does not count: [checkpoint] " + moved.string() + " holds step 6";
  const auto listed = test::run(words("list " + at("run").string()));
  EXPECT_EQ(listed.exit_code, 0) << listed.err;
  EXPECT_THAT(listed.out, AllOf(HasSubstr("step 6 "), HasSubstr(why)));
  const auto row = nlohmann::json::parse(test::run(words("list --json " + at("run").string())).out);
  EXPECT_EQ(row[0]["saved_steps"], nlohmann::json({2, 4}));
  EXPECT_EQ(row[0]["unreadable_steps"][0]["step"], 8);
  fs::rename(moved, newest);
  EXPECT_THAT(test::run(words("list " + at("run").string())).out, Not(HasSubstr("does not count")));
}

TEST_F(DamagedStarts, a_shard_in_the_place_of_its_master_is_damage) {
  make("run", "--train-iters 4");
  const fs::path folder = checkpoint_of(at("run"), 4), master = folder / "checkpoint.h5";
  fs::copy_file(folder / "shards/rank-00000.h5", master, fs::copy_options::overwrite_existing);
  expect_damaged("run", master.string());
  const std::string run = at("run").string();
  for (const std::string& line :
       {"train " + run + " --train-iters 6", "fork " + run + "@4 " + at("branch").string()}) {
    const auto outcome = test::run(words(line));
    EXPECT_EQ(outcome.exit_code, 5) << line << outcome.out << outcome.err;
    EXPECT_THAT(outcome.err, AllOf(HasSubstr(master.string()), Not(HasSubstr("no moments"))));
  }
}

TEST_F(DamagedStarts, a_plan_that_is_missing_is_said_to_be) {
  make("run", "--train-iters 6 --save-interval 4");
  const std::string branch = at("branch").string();
  run_well("fork " + at("run").string() + "@5 " + branch);
  fs::rename(at("branch/replay.json"), at("aside"));
  const auto outcome = test::run(words("train " + branch + " --train-iters 6"));
  EXPECT_EQ(outcome.exit_code, 5) << outcome.err;
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("replay.json is missing"), Not(HasSubstr("any more"))));
  fs::rename(at("aside"), at("branch/replay.json"));
  run_well("train " + branch + " --train-iters 6");
  fs::remove_all(at("branch/checkpoints"));
  EXPECT_THAT(test::run(words("train " + branch + " --train-iters 7")).err,
              HasSubstr("went with its first"));
}

// As of a flipped bit; copies are not looked for as far down as `original`.
class DamagedForkPoints : public DamagedStarts {
 protected:
  void SetUp() override {
    fs::create_directories(at("far/down"));
    make("far/down/original", "--train-iters 4");
  }
  void fork_anew(const std::string& copied = "") const {
    for (const std::string old : {"run", "branch", "copy"}) fs::remove_all(at(old));
    copy("far/down/original", "run");
    if (copied == "before") copy("run", "copy");
    run_well("fork " + at("run").string() + "@4 " + at("branch").string());
    if (copied == "behind") copy("run", "copy");
  }
  void copy(const std::string& from, const std::string& to) const {
    fs::copy(at(from), at(to), fs::copy_options::recursive);
  }
  const std::vector<std::string> all_ = {"cut shard", "no moments", "cut master", "no master",
                                         "no step"};
};

TEST_F(DamagedForkPoints, whose_files_are_cut_or_gone_are_said_to_be_beside_a_copy) {
  const std::string place = at("copy").string();
  for (const auto& how : all_) {
    for (const std::string copied : {"before", "behind"}) {
      SCOPED_TRACE(how + ", a copy made " + copied);
      fork_anew(copied);
      damage("run", 4, how);
      expect_damaged("branch", "a start reads its copy in '" + place + "' instead, which is whole");
      const auto started = start("branch");
      EXPECT_EQ(started.exit_code, 0) << started.err;
      EXPECT_THAT(started.err, HasSubstr("; its copy in '" + place + "' is read instead"));
    }
  }
}

TEST_F(DamagedForkPoints, without_a_copy_are_refused_as_damage) {
  for (const auto& how : all_) {
    SCOPED_TRACE(how);
    fork_anew();
    damage("run", 4, how);
    expect_damaged("branch", "WRONG: its fork point ../run@4");
    EXPECT_EQ(start("branch").exit_code, 5);
  }
}

TEST_F(DamagedForkPoints, are_none_where_the_parent_has_moved_or_is_gone) {
  fork_anew();
  fs::rename(at("run"), at("copy"));
  for (const std::string there : {"nothing", "another path"}) {
    if (there == "another path") make("run", "--train-iters 2");
    const auto outcome = test::run({"verify", at("branch").string()});
    EXPECT_EQ(outcome.exit_code, 0) << there << outcome.out;
  }
  EXPECT_THAT(start("branch").err, Not(HasSubstr("is read instead")));
  fork_anew();
  fs::remove_all(at("run"));
  EXPECT_EQ(start("branch").exit_code, 2);
}

TEST_F(DamagedForkPoints, that_others_are_made_from_are_said_to_be) {
  fork_anew();
  run_well("fork " + at("run").string() + "@3 " + at("unsaved").string());
  copy("run", "copy");
  damage("run", 2, "cut shard");
  expect_damaged("unsaved", "a start reads its copy in '" + at("copy").string());
  EXPECT_THAT(start("unsaved").err, HasSubstr("; its copy in '" + at("copy").string()));
}

TEST_F(DamagedStarts, a_start_behind_a_newest_step_that_is_gone_says_what_is_made_again) {
  for (const std::string how : {"no master", "no step"}) {
    const std::string run = how.substr(3);
    make(run, "--train-iters 6");
    damage(run, 6, how);
    const auto outcome = start(run, "--train-iters 7");
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("has lines up to step 6, and this start goes on from step "
                                       "4: 2 steps are made again"));
  }
}

}  // namespace
}  // namespace switchyard::test
