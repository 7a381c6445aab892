#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/error.h"
#include "launch/average.h"
#include "launch/run_folder.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

void save(const RunFolder& run, int64_t step) {
  CheckpointInfo info;
  info.id = random_checkpoint_id();
  info.step = step;
  CheckpointStreamWriter writer(run.checkpoints(), info);
  const float value = static_cast<float>(step);
  writer.add({"/model/x", {1}, DType::f32}, &value);
  writer.finish();
}

std::vector<int64_t> steps_of(const RunFolder& run) {
  std::vector<int64_t> steps;
  for (const auto& entry : list_checkpoints(run.checkpoints())) steps.push_back(entry.step);
  return steps;
}

class RunFolderTest : public testing::Test {
 protected:
  void SetUp() override {
    write_file_atomically(folder_.path() / "path.json", "{}");
    for (const int64_t step : {10, 20, 30, 40}) save(run_, step);
  }
  test::TemporaryFolder folder_;
  RunFolder run_{folder_.path()};
};

TEST(RunReference, SplitsAtTheLastSign) {
  EXPECT_EQ(parse_run_reference("runs/main@120").step, 120);
  EXPECT_EQ(parse_run_reference("a@b@3").folder, "a@b");
  EXPECT_FALSE(parse_run_reference("main").step.has_value());
  EXPECT_THROW(parse_run_reference("main@x"), Error);
  EXPECT_THROW(parse_run_reference("main@-1"), Error);
}

TEST_F(RunFolderTest, NamesTheNearestSavedStep) {
  EXPECT_EQ(run_.checkpoint(std::nullopt).step, 40);
  EXPECT_EQ(run_.checkpoint(20).step, 20);
  try {
    run_.checkpoint(28);
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("nearest saved step is 30"));
  }
}

TEST_F(RunFolderTest, RetentionNeverDeletesAForkPoint) {
  run_.pin(20, folder_.path() / "branch");
  run_.retain(2);
  EXPECT_THAT(steps_of(run_), ElementsAre(20, 30, 40));
  run_.retain(0);
  EXPECT_THAT(steps_of(run_), ElementsAre(20, 30, 40));
}

TEST_F(RunFolderTest, GoingBackMovesLaterStepsAsideButNoForkPoint) {
  run_.pin(30, folder_.path() / "branch");
  EXPECT_THROW(run_.discard_behind(20), Error);
  EXPECT_THAT(steps_of(run_), ElementsAre(10, 20, 30, 40));
  run_.discard_behind(30);
  EXPECT_THAT(steps_of(run_), ElementsAre(10, 20, 30));
  EXPECT_TRUE(std::filesystem::exists(folder_.path() / "discarded/step-00000040/checkpoint.h5"));
}

TEST_F(RunFolderTest, FindsTheNewestGoodStep) {
  const auto shards = checkpoint_folder(run_.checkpoints(), 30) / "shards";
  for (const auto& shard : std::filesystem::directory_iterator(shards)) {
    std::filesystem::resize_file(shard.path(), 100);
  }
  EXPECT_EQ(run_.newest_good_below(40), 20);
  EXPECT_EQ(run_.newest_good_below(10), std::nullopt);
}

TEST_F(RunFolderTest, TheLockDiesWithItsProcess) {
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t child = fork();
  if (child == 0) {
    const PathLock lock(run_);
    if (write(ready[1], "x", 1) != 1) _exit(1);
    pause();
  }
  char byte = 0;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  try {
    const PathLock second(run_);
    FAIL() << "a second lock was given";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr(std::to_string(child)));
  }
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_NO_THROW(PathLock{run_});
}

TEST(AverageSteps, MeetTheirEnd) {
  EXPECT_THAT(parse_steps("10:30:10"), ElementsAre(10, 20, 30));
  EXPECT_THAT(parse_steps("10:10:1"), ElementsAre(10));
  for (const char* bad : {"10:30", "30:10:10", "10:35:10", "a:b:c", "10:30:0", "10:30:10:5", ""}) {
    EXPECT_THROW(parse_steps(bad), Error) << bad;
  }
}

}  // namespace
}  // namespace switchyard
