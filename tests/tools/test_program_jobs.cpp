// Jobs of the local executor that are the program itself, alone and on ranks: they save when they
// are stopped and when the process that started them dies.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <thread>

#include "launch/campaign/local_executor.h"
#include "tests/support/temporary_folder.h"
#include "tests/tools/paths.h"

namespace fs = std::filesystem;

namespace switchyard::test {
namespace {

using namespace std::chrono_literals;

class Jobs : public ::testing::TestWithParam<int> {
 protected:
  fs::path at(const std::string& name) const { return folder_.path() / name; }

  std::unique_ptr<Executor> executor() const {
    return make_local_executor(
        {.logs = at("logs"), .jobs = 2, .ranks = 4, .program = SWITCHYARD_PROGRAM});
  }

  Job training(int64_t last) const {
    const Layout layout{.dp = GetParam()};
    return {"main",
            train_words(at("main"), options_ + " --train-iters " + std::to_string(last), layout),
            GetParam()};
  }

  static int end_of(Executor& jobs) {
    const auto ends = jobs.ended(60s);
    EXPECT_EQ(ends.size(), 1U);
    return ends.empty() ? -1 : ends[0].code;
  }

  bool has_steps() const {
    return wait_until(
        [&] { return fs::exists(at("main/metrics.jsonl")) && metrics_of(at("main")).size() > 2; },
        60);
  }

  pid_t parent_of_a_job() const {
    const pid_t parent = fork();
    if (parent != 0) return parent;
    const auto jobs = executor();
    jobs->start(training(never));
    jobs->ended(600s);
    _exit(1);
  }

  // No process anywhere has the run among its arguments, within a time.
  bool nothing_runs(double seconds = 20) const {
    const auto names_it = [&](const fs::directory_entry& process) {
      std::ifstream arguments(process.path() / "cmdline");
      std::string text(std::istreambuf_iterator<char>(arguments), {});
      return text.find(at("main").string()) != std::string::npos;
    };
    return wait_until(
        [&] { return std::ranges::none_of(fs::directory_iterator("/proc"), names_it); }, seconds);
  }

  // The steps that were saved are all that were made.
  void expect_saved() const {
    ASSERT_EQ(saved_steps(at("main")).size(), 1U);
    expect_whole_log(at("main"), 1, saved_steps(at("main"))[0]);
  }

  void expect_goes_on() const {
    const auto jobs = executor();
    const int64_t last = saved_steps(at("main"))[0] + 2;
    jobs->start(training(last));
    EXPECT_EQ(end_of(*jobs), 0);
    expect_whole_log(at("main"), 1, last);
  }

  TemporaryFolder folder_;
  std::string data_ = make_tokens(folder_.path(), "text", 60'000);
  std::string options_ = tiny_path(data_, 2, "--num-layers 2 --hidden-size 32");
  static constexpr int64_t never = 1'000'000;
};

TEST_P(Jobs, StoppedTheySave) {
  {
    const auto jobs = executor();
    jobs->start(training(never));
    ASSERT_TRUE(has_steps());
    jobs->stop();
    EXPECT_EQ(end_of(*jobs), 75);
  }
  expect_saved();
  expect_goes_on();
}

TEST_P(Jobs, SaveWhenWhatStartedThemIsKilled) {
  const pid_t parent = parent_of_a_job();
  ASSERT_TRUE(has_steps());
  kill(parent, SIGKILL);
  waitpid(parent, nullptr, 0);
  ASSERT_TRUE(nothing_runs());
  expect_saved();
  expect_goes_on();
}

TEST_P(Jobs, EndWhenWhatStartsThemIsKilled) {
  for (const auto delay : {5ms, 100ms}) {
    const pid_t parent = parent_of_a_job();
    ASSERT_TRUE(wait_until([&] { return fs::exists(at("logs/main.log")); }, 20));
    std::this_thread::sleep_for(delay);
    kill(parent, SIGKILL);
    waitpid(parent, nullptr, 0);
    EXPECT_TRUE(nothing_runs()) << delay.count() << " ms";
    fs::remove(at("logs/main.log"));
  }
}

TEST_P(Jobs, StoppedAtAnyMomentOfTheirStartTheyEnd) {
  for (const auto delay : {5ms, 100ms, 300ms}) {
    const auto jobs = executor();
    jobs->start(training(never));
    std::this_thread::sleep_for(delay);
    jobs->stop();
    const int code = end_of(*jobs);
    EXPECT_TRUE(code == 75 || code == 130) << code << " after " << delay.count() << " ms";
  }
  ASSERT_TRUE(nothing_runs());
}

TEST_P(Jobs, KilledTheyEndAtOnce) {
  const auto jobs = executor();
  jobs->start(training(never));
  ASSERT_TRUE(has_steps());
  jobs->kill();
  EXPECT_EQ(end_of(*jobs), 130);
  EXPECT_TRUE(nothing_runs(2));
  EXPECT_TRUE(saved_steps(at("main")).empty());
}

// What never takes the signal ends by it, once mpirun can pass it on.
TEST(JobsOfOtherPrograms, StoppedAtAnyMomentOfTheirStartTheyEnd) {
  const TemporaryFolder folder;
  const fs::path program = folder.path() / "scores";
  std::ofstream(program) << "#!/bin/sh\nexec sleep 60\n";
  fs::permissions(program, fs::perms::owner_all);
  fs::create_symlink(SWITCHYARD_LAUNCH "/mpirun", folder.path() / "switchyard-mpirun");
  const auto jobs = make_local_executor({.logs = folder.path(), .ranks = 2, .program = program});
  for (const auto delay : {30ms, 60ms}) {
    jobs->start({"scores", {}, 2});
    std::this_thread::sleep_for(delay);
    jobs->stop();
    const auto ends = jobs->ended(20s);
    ASSERT_EQ(ends.size(), 1U) << delay.count() << " ms";
    EXPECT_EQ(ends[0].code, 130) << delay.count() << " ms";
  }
}

INSTANTIATE_TEST_SUITE_P(Ranks, Jobs, ::testing::Values(1, 2));

}  // namespace
}  // namespace switchyard::test
