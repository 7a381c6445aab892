// Two hosts and one path, on a disk where each keeps its flocks for itself.
#include <gtest/gtest.h>

#include <csignal>
#include <fstream>

#include "tests/support/temporary_folder.h"
#include "tests/tools/hosts.h"
#include "tests/tools/paths.h"
#include "tests/tools/refusal.h"

namespace fs = std::filesystem;

namespace switchyard::test {
namespace {

using Clock = std::chrono::steady_clock;

class TwoHosts : public ::testing::Test {
 protected:
  std::string run() const { return (folder_.path() / "run").string(); }
  std::vector<std::string> training(int64_t last) const {
    return train_words(run(), tiny_path(data_, 4,
                                        "--num-layers 1 --hidden-size 16 --seq-length 16"
                                        " --save-interval 20") +
                                  " --train-iters " + std::to_string(last));
  }
  size_t steps() const {
    return fs::exists(run() + "/metrics.jsonl") ? metrics_of(run()).size() : 0;
  }
  Outcome refused(const std::string& line, const std::string& host) {
    auto outcome = test::run(words(line), 1, on_host(host));
    EXPECT_EQ(outcome.exit_code, 2) << line << outcome.err;
    return outcome;
  }
  std::string make_squeue(const std::string& script) const {
    return test::make_squeue(folder_.path(), script);
  }

  TemporaryFolder folder_;
  std::string data_ = make_tokens(folder_.path(), "text", 30'000);
};

TEST_F(TwoHosts, a_second_job_is_refused_and_waits_where_it_is_told_to) {
  Program first(training(100'000), 1, on_host("n1", "SLURM_JOB_ID=45"));
  ASSERT_TRUE(wait_until([&] { return steps() > 30; }, 60)) << first.errors_so_far();
  const std::string holder =
      "is being worked on by process " + std::to_string(first.pid()) + " on n1, Slurm job 45";
  const std::string path = make_squeue("echo RUNNING 0");
  for (const std::string& line :
       {"train " + run() + " --train-iters 9", "prune " + run() + " --keep-checkpoints 1 --yes",
        "extend " + run() + " --at-step 900000 --data-path " + data_ + " " + data_}) {
    const auto begin = Clock::now();
    auto outcome = test::run(words(line), 1, on_host("n2", path));
    EXPECT_EQ(outcome.exit_code, 2) << line << outcome.err;
    EXPECT_NE(outcome.err.find(holder), std::string::npos) << outcome.err;
    EXPECT_LT(Clock::now() - begin, std::chrono::seconds(20));
  }
  const auto listed = test::run({"list", folder_.path().string()}, 1, on_host("n2", path));
  EXPECT_NE(listed.out.find("running"), std::string::npos) << listed.out;
  Program second(train_words(run(), "--train-iters 100000 --lock-wait-minutes 2"), 1,
                 on_host("n2", path));
  ASSERT_TRUE(wait_until(
      [&] { return second.errors_so_far().find("waiting for process") != std::string::npos; }, 30))
      << second.errors_so_far();
  kill(first.pid(), SIGUSR1);
  EXPECT_EQ(first.wait().exit_code, 75);
  const size_t before = steps();
  ASSERT_TRUE(wait_until([&] { return steps() > before + 10; }, 60)) << second.errors_so_far();
  kill(second.pid(), SIGUSR1);
  EXPECT_EQ(second.wait().exit_code, 75);
  expect_whole_log(run(), 1, static_cast<int64_t>(steps()));
  EXPECT_FALSE(fs::exists(run() + "/lease"));
}

TEST_F(TwoHosts, a_job_that_lost_its_path_stops_before_it_writes) {
  Program first(training(100'000), 1, on_host("n1"));
  ASSERT_TRUE(wait_until([&] { return steps() > 30; }, 60)) << first.errors_so_far();
  take_over(run() + "/lease", "46");
  const size_t at_most = steps() + 1;  // one may be between its look and its line
  const auto outcome = first.wait();
  EXPECT_EQ(outcome.exit_code, 5) << outcome.err;
  EXPECT_NE(outcome.err.find("on n9, Slurm job 46"), std::string::npos) << outcome.err;
  EXPECT_LE(steps(), at_most);
  // The taker's job is over: whoever comes goes on at once, from what was saved.
  const auto begin = Clock::now();
  const auto saved = saved_steps(run()).back();
  const auto next = test::run(
      train_words(run(), "--train-iters " + std::to_string(saved + 5)), 1,
      on_host("n2",
              make_squeue("echo slurm_load_jobs error: Invalid job id specified >&2; exit 1")));
  EXPECT_EQ(next.exit_code, 0) << next.err;
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(20));
  expect_whole_log(run(), 1, saved + 5);
}

TEST_F(TwoHosts, a_kill_is_followed_at_once_on_the_same_host) {
  {
    Program first(training(100'000), 1, on_host("n1"));
    ASSERT_TRUE(wait_until([&] { return steps() > 30; }, 60)) << first.errors_so_far();
    kill(first.pid(), SIGKILL);
    first.wait();
  }
  EXPECT_TRUE(fs::exists(run() + "/lease"));
  const auto begin = Clock::now();
  const auto saved = saved_steps(run()).back();
  const auto next =
      test::run(train_words(run(), "--train-iters " + std::to_string(saved + 5)), 1, on_host("n1"));
  EXPECT_EQ(next.exit_code, 0) << next.err;
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(15));
}

// A requeue behind a node's failure comes while the old rank 0 may still be ending.
TEST_F(TwoHosts, the_restart_of_a_job_waits_by_itself) {
  Program first(training(100'000));
  ASSERT_TRUE(wait_until([&] { return steps() > 30; }, 60)) << first.errors_so_far();
  Program second(train_words(run(), "--train-iters 100000"), 1,
                 "SLURM_JOB_ID=45 SLURM_RESTART_COUNT=1");
  ASSERT_TRUE(wait_until(
      [&] { return second.errors_so_far().find("waiting for process") != std::string::npos; }, 30))
      << second.errors_so_far();
  kill(first.pid(), SIGKILL);
  const size_t before = steps();
  ASSERT_TRUE(wait_until([&] { return steps() > before + 30; }, 60)) << second.errors_so_far();
  kill(second.pid(), SIGUSR1);
  EXPECT_EQ(second.wait().exit_code, 75);
}

}  // namespace
}  // namespace switchyard::test
