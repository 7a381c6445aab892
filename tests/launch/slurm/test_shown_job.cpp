// What scontrol says of a job, read in one place; scontrol itself is a script here.
#include <gtest/gtest.h>

#include <cstdlib>

#include "core/files.h"
#include "launch/slurm/allocation.h"
#include "launch/slurm/shown_job.h"
#include "tests/support/temporary_folder.h"

namespace fs = std::filesystem;

namespace switchyard::test {
namespace {

class ShownJobTest : public testing::Test {
 protected:
  ~ShownJobTest() override {
    setenv("PATH", path_.c_str(), 1);
    for (const char* name : {"SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"})
      unsetenv(name);
  }
  void scontrol_says(const std::string& text, int code = 0) {
    const fs::path program = folder_.path() / "scontrol";
    write_file_atomically(
        program, "#!/bin/sh\n[ \"$*\" = \"show job -o 900_2\" ] || exit 9\ncat <<'E'\n" + text +
                     "\nE\nexit " + std::to_string(code) + "\n");
    fs::permissions(program, fs::perms::owner_all);
    setenv("PATH", (folder_.path().string() + ":" + path_).c_str(), 1);
  }

  std::string path_ = getenv("PATH");
  TemporaryFolder folder_;
};

constexpr const char* running =
    "JobId=902 ArrayJobId=900 ArrayTaskId=2 JobName=a UserId=u(1) JobState=RUNNING Reason=None "
    "Dependency=(null) Requeue=1 Restarts=0 ExitCode=0:0 Comment=JobState=FAILED Reason=TimeLimit ";

TEST_F(ShownJobTest, the_first_line_and_the_first_of_a_name_count) {
  scontrol_says(std::string(running) + "\nJobId=900 JobState=COMPLETING Reason=None");
  const auto shown = shown_job("900_2");
  ASSERT_TRUE(shown);
  EXPECT_EQ(shown->id, "902");
  EXPECT_EQ(shown->state, "RUNNING");
  EXPECT_EQ(shown->reason, "None");
  EXPECT_EQ(shown->exit_code, "0:0");
  EXPECT_FALSE(is_cancelled("900_2"));
}

TEST_F(ShownJobTest, of_one_that_is_unknown_there_is_nothing) {
  scontrol_says("", 1);
  EXPECT_FALSE(shown_job("900_2"));
  EXPECT_FALSE(is_cancelled("900_2"));
}

TEST_F(ShownJobTest, a_time_limit_is_no_cancellation) {
  scontrol_says("JobId=902 JobState=COMPLETING Reason=TimeLimit");
  EXPECT_FALSE(is_cancelled("900_2"));
  scontrol_says("JobId=902 JobState=COMPLETING Reason=None");
  EXPECT_TRUE(is_cancelled("900_2"));
}

TEST_F(ShownJobTest, an_arrays_task_is_asked_for_by_its_own_name) {
  setenv("SLURM_JOB_ID", "902", 1);
  setenv("SLURM_ARRAY_JOB_ID", "900", 1);
  setenv("SLURM_ARRAY_TASK_ID", "2", 1);
  scontrol_says(running);
  EXPECT_EQ(job_of_allocation(), "900_2");
  setenv("SLURM_JOB_ID", "17", 1);  // a job that this task has submitted
  EXPECT_EQ(job_of_allocation(), "17");
}

}  // namespace
}  // namespace switchyard::test
