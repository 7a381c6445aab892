// What keeps a training up and tells of it: ends that are asked for, checks, what a start notes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <mutex>
#include <thread>

#include "core/error.h"
#include "core/files.h"
#include "core/stop_signal.h"
#include "launch/engine/stop_point.h"
#include "launch/path/options.h"
#include "launch/path/verify.h"
#include "launch/trainer.h"
#include "parallel/checkpoint/checkpoint.h"
#include "parallel/comm/communicators.h"
#include "tests/support/temporary_folder.h"
#include "tests/tools/paths.h"

namespace fs = std::filesystem;

namespace switchyard::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class Stay : public testing::Test {
 protected:
  fs::path at(const std::string& name) const { return folder_.path() / name; }
  std::string until(int64_t step) const {
    return options_ + " --train-iters " + std::to_string(step);
  }
  Outcome train_once(const fs::path& run, const std::string& options, Layout layout = {}) const {
    return test::run(train_words(run, options, layout), layout.tp * layout.pp * layout.dp);
  }
  static nlohmann::json last_start(const fs::path& run) {
    std::string text = read_file(run / "starts.jsonl");
    text.pop_back();
    return nlohmann::json::parse(text.substr(text.rfind('\n') + 1));
  }
  static size_t count(const std::string& text, const std::string& word) {
    size_t found = 0;
    for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1))
      ++found;
    return found;
  }

  TemporaryFolder folder_;
  std::string data_ = make_tokens(folder_.path(), "text", 60'000);
  std::string options_ = tiny_path(data_, 6);
};

TEST_F(Stay, exits_behind_multiples_of_the_exit_interval) {
  const Layout layout{.dp = 2};
  for (const int64_t stop : {3, 6}) {
    const auto outcome = train_once(at("run"), until(8) + " --exit-interval 3", layout);
    EXPECT_EQ(outcome.exit_code, 75) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("stopping after step " + std::to_string(stop) +
                                       ", as --exit-interval 3 asks"));
    EXPECT_EQ(saved_steps(at("run")).back(), stop);
  }
  // The goal is reached before the next multiple, and by one.
  EXPECT_EQ(train_once(at("run"), until(8) + " --exit-interval 3", layout).exit_code, 0);
  EXPECT_EQ(train_once(at("run"), until(9) + " --exit-interval 3", layout).exit_code, 0);
  train(at("whole"), until(9), layout);
  expect_whole_log(at("run"), 1, 9);
  expect_same_steps(at("whole"), at("run"), 1, 9);
  expect_same_tensors(checkpoint_of(at("whole"), 9), checkpoint_of(at("run"), 9));
}

TEST_F(Stay, a_validation_is_broken_off_by_a_signal_and_the_step_is_saved) {
  const Layout layout{.dp = 2};
  const std::string large = make_tokens(folder_.path(), "large", 4'000'000);
  const std::string validates = " --eval-interval 4 --valid-data-path " + large + " --eval-iters ";
  Program program(train_words(at("run"), until(9) + validates + "20000", layout), 2);
  // The second step's line is out, so the validation behind the fourth has begun soon.
  ASSERT_TRUE(wait_until([&] { return metrics_of(at("run")).size() >= 3; }, 60))
      << program.errors_so_far();
  std::this_thread::sleep_for(std::chrono::milliseconds(1500));
  ASSERT_EQ(metrics_of(at("run")).size(), 3U) << "the validation did not last";
  const auto ranks = program.rank_pids();
  kill(ranks.empty() ? program.pid() : ranks.back(), SIGUSR1);
  ASSERT_TRUE(wait_until([&] { return !program.running(); }, 20)) << "it goes on";
  const auto outcome = program.wait();
  EXPECT_EQ(outcome.exit_code, 75) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("the validation behind step 4 is broken off, as a signal"));
  EXPECT_EQ(saved_steps(at("run")), std::vector<int64_t>{4});
  EXPECT_FALSE(metrics_of(at("run")).back().contains("validation_loss"));
  // Goes on as one that was never stopped.
  train(at("run"), until(9) + validates + "2", layout);
  train(at("whole"), until(9) + validates + "2", layout);
  expect_whole_log(at("run"), 1, 9);
  expect_same_steps(at("whole"), at("run"), 1, 9);
  EXPECT_EQ(metrics_of(at("run"))[7].at("validation_loss"),
            metrics_of(at("whole"))[7].at("validation_loss"));
}

// Before the first step there is nothing to save, and no path is left half-made.
TEST_F(Stay, a_start_is_ended_by_a_signal_before_its_first_step) {
  train(at("old"), until(2));
  const auto specs = [] {
    auto all = path_options();
    for (auto& spec : run_options()) all.push_back(spec);
    return all;
  }();
  const auto start = [&](const std::string& name) {
    const auto world = make_self_communicator();
    const StopSignal signals;
    raise(SIGUSR1);
    try {
      switchyard::train(at(name).string(), parse_command(specs, words(until(9))).given, *world);
    } catch (const AgreedError& problem) {
      EXPECT_THAT(problem.what(), HasSubstr("stopped before the first step of this start"));
      return problem.code();
    }
    return ExitCode::reached;
  };
  EXPECT_EQ(start("new"), ExitCode::stopped);
  EXPECT_FALSE(fs::exists(at("new")));
  EXPECT_EQ(start("old"), ExitCode::stopped);
  expect_whole_log(at("old"), 1, 2);
  EXPECT_EQ(saved_steps(at("old")), std::vector<int64_t>{2});
}

// Long work is ended within, and its error is not taken for a damaged checkpoint.
TEST_F(Stay, reading_a_checkpoint_is_ended_by_a_signal_in_a_start_alone) {
  train(at("run"), until(1));
  const CheckpointReader reader(checkpoint_of(at("run"), 1));
  const StopSignal signals;
  raise(SIGTERM);
  EXPECT_NO_THROW(verify_with_progress(reader));
  const EndableStart start;
  try {
    verify_with_progress(reader);
    ADD_FAILURE() << "it was not ended";
  } catch (const Error& problem) {
    EXPECT_EQ(problem.code(), ExitCode::stopped);
  }
}

TEST_F(Stay, a_signal_to_one_rank_ends_the_start_of_all) {
  int ended = 0;
  std::mutex counting;
  const StopSignal signals;
  run_thread_ranks(3, {}, [&](Communicator& world) {
    std::unique_ptr<EndableStart> start;
    if (world.rank() == 0) start = std::make_unique<EndableStart>();
    world.barrier({"a start"});
    stop_point(world.control());
    world.barrier({"nobody has asked"});
    if (world.rank() == 2) raise(SIGUSR1);
    world.barrier({"one was asked"});
    try {
      stop_point(world.control());
    } catch (const AgreedError& problem) {
      EXPECT_EQ(problem.code(), ExitCode::stopped);
      const std::lock_guard lock(counting);
      ++ended;
    }
  });
  EXPECT_EQ(ended, 3);
}

TEST_F(Stay, a_start_notes_its_job_and_hosts) {
  const std::string slurm =
      "SLURM_JOB_ID=4711 SLURM_RESTART_COUNT=2 SLURM_JOB_NODELIST=n[1-3] SLURM_CLUSTER_NAME=test";
  const auto words = train_words(at("run"), until(2), {.tp = 2, .dp = 2});
  const auto outcome = test::run(words, 4, slurm);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("Slurm job 4711, restart 2, on n[1-3]; user "),
                                 HasSubstr(": ranks 0-3 (local 0-3), tp 0-1, dp 0-1, cpu"),
                                 Not(HasSubstr("cross nodes"))));
  const auto job = last_start(at("run")).at("job");
  EXPECT_EQ(job.at("id"), "4711");
  EXPECT_EQ(job.at("restarts"), 2);
  EXPECT_EQ(job.at("ranks_of_hosts"), "4");
  EXPECT_FALSE(job.at("hosts").get<std::string>().empty());
  EXPECT_FALSE(job.at("user").get<std::string>().empty());
  EXPECT_EQ(job.at("launcher"), "mpirun");
  // Another job's are the same conditions: its steps have the same bits.
  EXPECT_EQ(test::run(test::words("replay " + at("run").string() + "@2 --tp 2"), 4).exit_code, 0);
  train(at("run"), until(4), {.tp = 2, .dp = 2});
  EXPECT_FALSE(last_start(at("run")).at("job").contains("id"));
}

// Four windows are an epoch, and a step reads six.
TEST_F(Stay, epochs_of_a_small_set_take_few_lines) {
  const std::string small = make_tokens(folder_.path(), "small", 140);
  const auto outcome =
      train_once(at("run"), tiny_path(small, 6, "--train-iters 20 --log-interval 10"));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_LE(count(outcome.err, "training windows"), 2U) << outcome.err;
  EXPECT_THAT(outcome.err, AllOf(HasSubstr(" epochs of its "), HasSubstr(", 2 to ")));
}

TEST_F(Stay, checks_change_no_bit_and_say_what_they_found) {
  const Layout layout{.tp = 2, .dp = 2};
  const auto outcome =
      train_once(at("run"),
                 until(4) +
                     " --log-stragglers 2 --check-weight-hash-across-dp-replicas-interval 1 "
                     "--health-check --health-check-interval 3",
                 layout);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(count(outcome.err, "health of 4 ranks"), 2U) << outcome.err;
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("stragglers of steps 1 to 2, "),
                                 HasSubstr("stragglers of steps 3 to 4, ")));
  train(at("whole"), until(4), layout);
  expect_same_steps(at("whole"), at("run"), 1, 4);
  expect_same_tensors(checkpoint_of(at("whole"), 4), checkpoint_of(at("run"), 4));
}

TEST_F(Stay, values_that_mean_nothing_are_refused) {
  for (const char* bad :
       {"--exit-interval 0", "--exit-interval -3", "--exit-duration-in-mins 0",
        "--exit-duration-in-mins 1.5", "--log-stragglers -1", "--health-check-interval x",
        "--check-weight-hash-across-dp-replicas-interval -1"}) {
    const auto outcome = train_once(at("run"), until(2) + " " + bad);
    EXPECT_EQ(outcome.exit_code, 2) << bad;
    const std::string name = std::string(bad).substr(0, std::string(bad).find(' '));
    EXPECT_THAT(outcome.err, HasSubstr(name));
    EXPECT_EQ(count(outcome.err, "\n"), 1U) << outcome.err;
    EXPECT_FALSE(fs::exists(at("run")));
  }
}

}  // namespace
}  // namespace switchyard::test
