#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "launch/path/path_lock.h"
#include "launch/path/prune.h"
#include "launch/path/resumable.h"
#include "launch/path/retention.h"
#include "parallel/checkpoint/moments.h"
#include "tests/launch/path/saved_path.h"
#include "tests/parallel/checkpoint/newer_checkpoint.h"

namespace fs = std::filesystem;

namespace switchyard {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using RetentionTest = test::SavedPath;
using test::steps_of;

// A letter for each of the steps 10, 20, ...: S stays whole, m loses moments, . goes.
std::string outcome(int64_t steps, const std::vector<StepNeed>& needs,
                    const RetentionOptions& options, const SavedStep& special = {}) {
  std::vector<SavedStep> saved;
  for (int64_t i = 1; i <= steps; ++i)
    saved.push_back(10 * i == special.step ? special : SavedStep{10 * i});
  std::string text;
  for (const StepFate& each : plan_retention(saved, needs, options)) {
    EXPECT_FALSE(each.why.empty());
    text += each.fate == Fate::stays ? 'S' : each.fate == Fate::goes ? '.' : 'm';
  }
  return text;
}

TEST(RetentionPlan, SaysWhatBecomesOfEachStep) {
  const std::vector<StepNeed> pin = {{20, true, "a fork point"}}, mean = {{20, false, "a mean"}};
  struct Case {
    RetentionOptions options;
    std::vector<StepNeed> needs;
    const char* expected;
  };
  const Case cases[] = {
      {{}, {}, "SSSSSS"},
      {{.checkpoints = 2}, {}, "....SS"},
      {{.checkpoints = 9}, {}, "SSSSSS"},
      {{.checkpoints = 1}, {}, ".....S"},
      {{.every = 30}, {}, "SSSSSS"},
      {{.checkpoints = 1, .every = 20}, {}, ".S.S.S"},
      {{.checkpoints = 2, .every = 30}, {}, "..S.SS"},
      {{.moments = 1}, {}, "mmmmmS"},
      {{.moments = 7}, {}, "SSSSSS"},
      {{.checkpoints = 3, .moments = 1}, {}, "...mmS"},
      {{.checkpoints = 3, .moments = 5}, {}, "...SSS"},
      {{.checkpoints = 2, .every = 20, .moments = 2}, {}, ".m.mSS"},
      {{.checkpoints = 1, .every = 20, .moments = 2}, {}, ".m.S.S"},  // of those that stay
      {{.checkpoints = 1}, pin, ".S...S"},
      {{.moments = 1}, pin, "mSmmmS"},
      {{.checkpoints = 1, .moments = 1}, pin, ".S...S"},
      {{.checkpoints = 1}, mean, ".S...S"},
      {{.checkpoints = 1, .moments = 1}, mean, ".m...S"},
      {{.checkpoints = 1}, {{20, false, "a member", 60}}, ".S...S"},
      {{.checkpoints = 1}, {{20, false, "a member", 50}}, ".....S"},  // which goes itself
      {{.checkpoints = 1}, {{10, false, "a", 20}, {20, false, "b", 60}}, ".S...S"},
      {{.checkpoints = 1, .moments = 1}, {mean[0], pin[0]}, ".S...S"},
      {{.checkpoints = 1, .moments = 1}, {{70, true, "a step that is not saved"}}, ".....S"},
  };
  for (const Case& each : cases) {
    EXPECT_EQ(outcome(6, each.needs, each.options), each.expected)
        << each.options.checkpoints << " " << each.options.every << " " << each.options.moments;
  }
  EXPECT_EQ(outcome(1, {}, {.checkpoints = 1, .moments = 1}), "S");
  EXPECT_EQ(outcome(0, {}, {.checkpoints = 1}), "");
}

TEST(RetentionPlan, MomentsThatAreGoneOrBoundStayAsTheyAre) {
  const RetentionOptions options{.checkpoints = 5, .moments = 2};
  EXPECT_EQ(outcome(6, {}, options, {30, false, ""}), ".mSmSS");
  EXPECT_EQ(outcome(6, {}, options, {30, true, "format 1"}), ".mSmSS");
  EXPECT_EQ(outcome(6, {}, options, {10, true, "format 1"}), ".mmmSS");
  const SavedStep saved[] = {{10, true, "format 1"}, {20}};
  const auto fates = plan_retention(saved, {}, {.moments = 1});
  EXPECT_TRUE(fates[0].is_bound);
  EXPECT_THAT(fates[0].why, HasSubstr("format 1"));
}

TEST(RetentionPlan, AStepThatCannotBeReadStaysAndCountsNowhere) {
  const SavedStep newest{60, true, "", "cut"}, middle{50, true, "", "cut"};
  EXPECT_EQ(outcome(6, {}, {.checkpoints = 1}, newest), "....SS");
  EXPECT_EQ(outcome(6, {}, {.checkpoints = 2}, middle), "...SSS");
  EXPECT_EQ(outcome(6, {}, {.checkpoints = 1}, {10, true, "", "cut"}), "S....S");
  EXPECT_EQ(outcome(6, {}, {.moments = 1}, newest), "mmmmSS");
  EXPECT_EQ(outcome(6, {}, {.checkpoints = 3, .every = 20, .moments = 1}, newest), ".mmmSS");
  EXPECT_EQ(outcome(6, {{20, false, "a member", 60}}, {.checkpoints = 1}, newest), ".S..SS");
  EXPECT_EQ(outcome(1, {}, {.checkpoints = 1}, {10, true, "", "cut"}), "S");
}

std::vector<int64_t> with_moments(const RunFolder& run) {
  std::vector<int64_t> steps;
  for (const auto& entry : list_checkpoints(run.checkpoints())) {
    if (has_moments(entry)) steps.push_back(entry.step);
  }
  return steps;
}

TEST_F(RetentionTest, TakesMomentsButThoseOfForkPointsUntilTheirBranchesAreGone) {
  const auto branch = make_branch("branch", 20);
  pin(20, branch);
  Retention retention(run_, {.moments = 1});
  EXPECT_TRUE(retention.apply());
  EXPECT_THAT(steps_of(run_), ElementsAre(10, 20, 30, 40));
  EXPECT_THAT(with_moments(run_), ElementsAre(20, 40));
  fs::remove_all(branch);
  EXPECT_TRUE(retention.apply());
  EXPECT_THAT(with_moments(run_), ElementsAre(40));
}

TEST_F(RetentionTest, MultiplesStayForGood) {
  test::retain(run_, {.checkpoints = 1, .every = 20});
  EXPECT_THAT(steps_of(run_), ElementsAre(20, 40));
  for (const int64_t step : {50, 60, 70}) test::save(run_, step);
  test::retain(run_, {.checkpoints = 1, .every = 20, .moments = 2});
  EXPECT_THAT(steps_of(run_), ElementsAre(20, 40, 60, 70));
  EXPECT_THAT(with_moments(run_), ElementsAre(60, 70));
}

TEST_F(RetentionTest, WhatAKillLeftOfMomentsGoesTheNextTime) {
  const auto shards = run_.checkpoint(20).folder / "shards";
  fs::copy_file(shards / "rank-00000.moments.h5", folder_.path() / "aside");
  test::retain(run_, {.moments = 1});
  fs::copy_file(folder_.path() / "aside", shards / "rank-00000.moments.h5");
  EXPECT_THAT(with_moments(run_), ElementsAre(40));
  test::retain(run_, {.moments = 1});
  EXPECT_FALSE(fs::exists(shards / "rank-00000.moments.h5"));
}

TEST_F(RetentionTest, AStartThatSavesNothingEndsWhatWasBegun) {
  const auto whole = run_.checkpoint(20).folder / "checkpoint.h5.whole";
  const auto moments = run_.checkpoint(20).folder / "shards/rank-00000.moments.h5";
  fs::create_hard_link(run_.checkpoint(20).folder / "checkpoint.h5", whole);
  Retention(run_, {}).end_begun();
  EXPECT_FALSE(fs::exists(whole));
  EXPECT_THAT(with_moments(run_), ElementsAre(10, 20, 30, 40));
  fs::copy_file(moments, folder_.path() / "moments");
  fs::copy_file(run_.checkpoint(20).folder / "checkpoint.h5", folder_.path() / "master");
  drop_moments(run_.checkpoint(20).folder);
  fs::copy_file(folder_.path() / "moments", moments);
  fs::copy_file(folder_.path() / "master", whole);
  fs::create_directories(run_.checkpoints() / "step-00000035/shards");
  Retention(run_, {.checkpoints = 1}).end_begun();
  EXPECT_FALSE(fs::exists(whole) || fs::exists(moments));
  EXPECT_THAT(with_moments(run_), ElementsAre(10, 30, 40));
  EXPECT_THAT(steps_of(run_), ElementsAre(10, 20, 30, 40));
}

TEST_F(RetentionTest, WhatAKilledForkLeftGoesWithTheNextStart) {
  fs::create_directories(folder_.path() / "pins");
  const std::vector<fs::path> looks = {
      folder_.path() / "pins/.look-1", run_.checkpoints() / ".look-2",
      run_.checkpoint(20).folder / ".look-3", run_.checkpoint(20).folder / "checkpoint.h5.tmp"};
  for (const auto& look : looks) write_file_atomically(look, "");
  test::retain(run_, {});
  for (const auto& look : looks) EXPECT_FALSE(fs::exists(look)) << look;
}

TEST_F(RetentionTest, ADamagedOldStepKeepsItsFilesAndStopsNothing) {
  fs::resize_file(run_.checkpoint(20).folder / "checkpoint.h5", 100);
  test::retain(run_, {.moments = 1});
  EXPECT_TRUE(fs::exists(run_.checkpoint(20).folder / "shards/rank-00000.moments.h5"));
  EXPECT_FALSE(fs::exists(run_.checkpoint(30).folder / "shards/rank-00000.moments.h5"));
}

// Each as the newest: no good step goes in its favour, and it stays itself.
TEST_F(RetentionTest, StepsThatCannotBeReadDoNotCount) {
  const fs::path newest = checkpoint_folder(run_.checkpoints(), 50);
  const auto copy = [&] {
    fs::copy(run_.checkpoint(40).folder, newest, fs::copy_options::recursive);
  };
  const auto expect_kept = [&](const std::string& why) {
    const PruneRequest request{{.checkpoints = 2, .moments = 1}};
    const PruneReport shown = survey(run_, request);
    EXPECT_EQ(shown.steps.back().fate.fate, Fate::stays);
    EXPECT_THAT(shown.steps.back().fate.why,
                AllOf(HasSubstr("cannot be read and does not count"), HasSubstr(why)));
    EXPECT_EQ(prune(run_, request).frees(), shown.frees());
    EXPECT_THAT(steps_of(run_), ElementsAre(30, 40, 50)) << why;
    EXPECT_TRUE(has_moments(run_.checkpoint(40)));
    fs::remove_all(newest);
  };
  copy();
  expect_kept("holds step 40");
  test::save(run_, 50);
  fs::resize_file(newest / "checkpoint.h5", 0);
  expect_kept("checkpoint.h5");
  test::save(run_, 50);
  fs::remove(newest / "shards/rank-00000.h5");
  expect_kept("rank-00000.h5");
  test::save(run_, 50);
  test::set_format_version(newest, 9);
  expect_kept("format version 9");
}

// Of a trainer, which knows the step that it has saved without looking.
TEST_F(RetentionTest, AnOlderStepThatCannotBeReadPushesNoGoodOneOut) {
  fs::remove(run_.checkpoint(40).folder / "shards/rank-00000.h5");
  fs::resize_file(run_.checkpoint(10).folder / "checkpoint.h5", 0);
  Retention retention(run_, {.checkpoints = 2});
  EXPECT_TRUE(retention.apply());
  EXPECT_THAT(steps_of(run_), ElementsAre(10, 20, 30, 40));
  test::save(run_, 50);
  retention.trust(50);
  EXPECT_TRUE(retention.apply());
  EXPECT_THAT(steps_of(run_), ElementsAre(10, 30, 40, 50));
}

TEST_F(RetentionTest, AStepWithoutMomentsIsRefusedNamingTheNearestThatHaveThem) {
  drop_moments(run_.checkpoint(20).folder);
  drop_moments(run_.checkpoint(30).folder);
  EXPECT_NO_THROW(check_resumable(run_, run_.checkpoint(40)));
  try {
    check_resumable(run_, run_.checkpoint(20));
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("the nearest saved steps with moments: 10 and 40"));
  }
  EXPECT_EQ(run_.newest_good_below(40), 10);
}

TEST_F(RetentionTest, PruneShowsWhatItDoesAndHoldsThePath) {
  fs::create_directories(folder_.path() / "discarded");
  fs::rename(run_.checkpoint(10).folder, folder_.path() / "discarded/step-00000010.1");
  const PruneRequest request{{.checkpoints = 2, .moments = 1}, true};
  const PruneReport shown = survey(run_, request);
  EXPECT_THAT(steps_of(run_), ElementsAre(20, 30, 40));
  ASSERT_EQ(shown.steps.size(), 3u);
  EXPECT_EQ(shown.steps[0].frees, shown.steps[0].bytes);
  EXPECT_EQ(shown.steps[1].frees, moment_bytes(run_.checkpoint(30).folder));
  EXPECT_EQ(shown.steps[2].frees, 0);
  ASSERT_EQ(shown.others.size(), 1u);
  EXPECT_EQ(shown.others[0].name, "discarded/step-00000010.1");
  {
    const PathLock lock(run_);
    EXPECT_THROW(prune(run_, request), Error);
  }
  EXPECT_EQ(prune(run_, request).frees(), shown.frees());
  EXPECT_THAT(steps_of(run_), ElementsAre(30, 40));
  EXPECT_THAT(with_moments(run_), ElementsAre(40));
  EXPECT_TRUE(fs::is_empty(folder_.path() / "discarded"));
  EXPECT_EQ(survey(run_, request).frees(), 0);
}

}  // namespace
}  // namespace switchyard
