// A run that was stopped, in whatever way, and continued is the run that was never stopped.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <thread>

#include "core/files.h"
#include "launch/path/path_lock.h"
#include "launch/path/run_folder.h"
#include "tests/support/event_reader.h"
#include "tests/support/temporary_folder.h"
#include "tests/tools/paths.h"

namespace fs = std::filesystem;

namespace switchyard::test {
namespace {

const Layout mixed{.tp = 2, .dp = 2};

class Resume : public ::testing::Test {
 protected:
  fs::path at(const std::string& name) const { return folder_.path() / name; }
  std::string until(int64_t step) const {
    return options_ + " --train-iters " + std::to_string(step);
  }

  // --tensorboard: each step of the log is shown once, with its numbers.
  void expect_shown(const fs::path& run) const {
    const auto curves = curves_of(at("events") / run.filename());
    for (const auto& [name, tag] : {std::pair{"loss", "loss/train"}, {"grad_norm", "grad-norm"}}) {
      std::vector<std::pair<int64_t, float>> logged;
      for (const auto& line : metrics_of(run))
        logged.emplace_back(line.at("step").get<int64_t>(), line.at(name).get<float>());
      EXPECT_EQ(curves.at(tag), logged) << tag << " of " << run;
    }
  }

  // Trains `run` on to `last` and compares with a run that was never stopped.
  void expect_as_if_never_stopped(const fs::path& run, int64_t last, Layout layout) {
    train(run, until(last), layout);
    const fs::path whole = run.string() + "-whole";
    train(whole, until(last), layout);
    expect_whole_log(run, 1, last);
    expect_same_steps(whole, run, 1, last);
    expect_same_tensors(checkpoint_of(whole, last), checkpoint_of(run, last));
  }

  void stop_by_steps(const std::string& name, std::initializer_list<int64_t> stops, int64_t last,
                     Layout layout) {
    for (const int64_t stop : stops) train(at(name), until(stop), layout);
    expect_as_if_never_stopped(at(name), last, layout);
  }

  TemporaryFolder folder_;
  std::string data_ = make_tokens(folder_.path(), "text", 60'000);
  std::string options_ = tiny_path(data_, 6);
};

TEST_F(Resume, stopped_by_steps_repeats_every_bit) {
  stop_by_steps("serial", {1, 7, 12}, 20, {});
  stop_by_steps("mixed", {1, 7}, 12, mixed);
}

TEST_F(Resume, stopped_by_steps_repeats_every_bit_in_bf16) {
  options_ = tiny_path(data_, 6, "--bf16");
  stop_by_steps("serial", {7}, 12, {});
  stop_by_steps("mixed", {7}, 12, {.tp = 2, .pp = 2});
}

TEST_F(Resume, a_start_takes_over_how_the_last_one_ran) {
  options_ = tiny_path(data_, 2, "--num-layers 2 --hidden-size 32 --save-interval 2");
  train(at("run"), until(3) + " --keep-checkpoints 2");
  EXPECT_EQ(saved_steps(at("run")), (std::vector<int64_t>{2, 3}));
  const std::string run = "train " + at("run").string();
  // Ends before its first step, so what it was given is not remembered.
  EXPECT_NE(test::run(words(run + " --train-iters 2 --save-interval 5")).exit_code, 1);
  const auto outcome = test::run(words(run + " --train-iters 7"));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  std::string first = outcome.err.substr(0, outcome.err.find("\n["));  // the first message
  EXPECT_LE(first.size() - first.rfind('\n'), 100);
  first.replace(first.find("\n "), 2, "");
  EXPECT_NE(first.find("goes on from step 3 (" + checkpoint_of(at("run"), 3).string() + ")"),
            std::string::npos)
      << first;
  EXPECT_NE(first.find("; as before: --save-interval 2 --keep-checkpoints 2"), std::string::npos)
      << first;
  EXPECT_EQ(saved_steps(at("run")), (std::vector<int64_t>{6, 7}));
  for (const auto& line : metrics_of(at("run"))) {
    EXPECT_EQ(line.at("start"), line.at("step") <= 3 ? 1 : 2);
  }
}

TEST_F(Resume, does_nothing_where_nothing_is_left) {
  train(at("run"), until(3));
  const auto tensors = tensors_of(checkpoint_of(at("run"), 3));
  train(at("run"), until(3));
  expect_whole_log(at("run"), 1, 3);
  EXPECT_TRUE(tensors == tensors_of(checkpoint_of(at("run"), 3)));
}

enum class Target { launcher, rank };

class ResumeAfterSignal : public Resume {
 protected:
  void stop_by_signal(int signal, Target target, Layout layout) {
    const auto run = at("run");
    Program program(train_words(run, options_, layout), layout.ranks());
    ASSERT_TRUE(wait_until([&] { return metrics_count(run) >= 4; }, 240))
        << program.errors_so_far();
    const auto ranks = program.rank_pids();
    const bool to_rank = target == Target::rank && !ranks.empty();
    const pid_t target_group = signal == SIGINT ? -program.pid() : program.pid();  // as Ctrl-C
    ASSERT_EQ(kill(to_rank ? ranks.back() : target_group, signal), 0);
    ASSERT_TRUE(wait_until([&] { return !program.running(); }, 20)) << "it goes on";
    const auto outcome = program.wait();
    EXPECT_EQ(outcome.exit_code, 75) << outcome.err;
    const int64_t last = metrics_of(run).back().at("step");
    EXPECT_EQ(saved_steps(run), std::vector<int64_t>{last});
    expect_as_if_never_stopped(run, last + 5, layout);
  }

  static size_t metrics_count(const fs::path& run) {
    if (!fs::exists(run / "metrics.jsonl")) return 0;
    const std::string text = read_file(run / "metrics.jsonl");
    return static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
  }
};

TEST_F(ResumeAfterSignal, usr1_to_the_program) { stop_by_signal(SIGUSR1, Target::launcher, {}); }
TEST_F(ResumeAfterSignal, term_to_the_program) { stop_by_signal(SIGTERM, Target::launcher, {}); }
TEST_F(ResumeAfterSignal, interrupt_of_the_program) {
  stop_by_signal(SIGINT, Target::launcher, {});
}
TEST_F(ResumeAfterSignal, interrupt_of_mpirun) { stop_by_signal(SIGINT, Target::launcher, mixed); }
TEST_F(ResumeAfterSignal, term_to_mpirun) { stop_by_signal(SIGTERM, Target::launcher, {.dp = 2}); }
TEST_F(ResumeAfterSignal, usr1_to_mpirun) { stop_by_signal(SIGUSR1, Target::launcher, mixed); }
TEST_F(ResumeAfterSignal, usr1_to_a_rank) { stop_by_signal(SIGUSR1, Target::rank, {.pp = 2}); }
TEST_F(ResumeAfterSignal, term_to_a_rank) { stop_by_signal(SIGTERM, Target::rank, {.dp = 2}); }

// A signal that comes before the first step is kept until its end.
TEST_F(ResumeAfterSignal, usr1_while_it_starts) {
  const auto run = at("run");
  Program program(train_words(run, options_));
  ASSERT_TRUE(wait_until([&] { return fs::exists(run / "path.json"); }, 240));
  kill(program.pid(), SIGUSR1);
  ASSERT_TRUE(wait_until([&] { return !program.running(); }, 20)) << "it goes on";
  EXPECT_EQ(program.wait().exit_code, 75);
  EXPECT_FALSE(saved_steps(run).empty());
}

// However far the ranks have come.
TEST_F(ResumeAfterSignal, a_signal_while_ranks_start_is_kept) {
  train(at("run"), until(1), {.dp = 2});
  const int signals[] = {SIGUSR1, SIGTERM, SIGINT};
  for (int i = 0; i < 12; ++i) {
    Program program(train_words(at("run"), "", {.dp = 2}), 2);
    std::this_thread::sleep_for(std::chrono::milliseconds(50 + 40 * i));
    kill(-program.pid(), signals[i % 3]);
    const auto outcome = program.wait();
    EXPECT_EQ(outcome.exit_code, 75) << i << " " << outcome.err;
  }
}

// A terminal's Ctrl-C goes to the whole foreground group.
TEST_F(ResumeAfterSignal, interrupted_again_it_ends_at_once) {
  for (const Layout layout : {Layout{}, Layout{.dp = 2}}) {
    const auto run = at("run" + std::to_string(layout.dp));
    options_ = tiny_path(data_, 20000);  // steps of many seconds
    Program program(train_words(run, options_, layout), layout.ranks());
    ASSERT_TRUE(wait_until([&] { return fs::exists(run / "path.json"); }, 240));
    kill(-program.pid(), SIGINT);
    ASSERT_TRUE(
        wait_until([&] { return program.errors_so_far().find("again") != std::string::npos; }, 20));
    kill(-program.pid(), SIGINT);
    ASSERT_TRUE(wait_until([&] { return !program.running(); }, 8)) << "it goes on";
    EXPECT_EQ(program.wait().exit_code, 130);
    EXPECT_TRUE(saved_steps(run).empty());
  }
}

// Behind what is saved a second one changes nothing.
TEST_F(ResumeAfterSignal, interrupted_again_behind_the_save_it_has_stopped) {
  Program program(train_words(at("run"), options_, {.dp = 2}), 2);
  ASSERT_TRUE(wait_until([&] { return metrics_count(at("run")) >= 2; }, 240));
  kill(-program.pid(), SIGINT);
  const auto has_saved = [&] {
    return program.errors_so_far().find("stopping after") != std::string::npos &&
           program.rank_pids().empty();
  };
  ASSERT_TRUE(wait_until(has_saved, 20));
  kill(-program.pid(), SIGINT);
  const auto outcome = program.wait();
  EXPECT_EQ(outcome.exit_code, 75) << outcome.err;
}

class ResumeAfterKill : public ResumeAfterSignal {
 protected:
  bool saves_now(const fs::path& run) {
    for (const auto& entry : list_checkpoints(run / "checkpoints")) {
      if (!entry.complete && entry.step > 3) return true;
    }
    return false;
  }

  // Kills one rank at the moment that `moment` names; the others must end by themselves.
  void kill_at(const fs::path& run, const std::function<bool()>& moment, Layout layout) {
    Program program(train_words(run, options_, layout), layout.ranks());
    ASSERT_TRUE(wait_until(moment, 240)) << program.errors_so_far();
    auto victims = program.rank_pids();
    ASSERT_FALSE(victims.empty());
    kill(victims.back(), SIGKILL);
    ASSERT_TRUE(wait_until([&] { return !program.running(); }, 10)) << "the other ranks live on";
    EXPECT_EQ(program.wait().exit_code, 76);
    ASSERT_TRUE(wait_until([&] { return is_free(run); }, 5)) << "the lock is still held";
    const auto steps = saved_steps(run);
    ASSERT_FALSE(steps.empty());
    last_saved_ = steps.back();
  }

  static bool is_free(const fs::path& run) {
    try {
      const PathLock lock{RunFolder(run)};
      return true;
    } catch (const std::exception&) {
      return false;
    }
  }

  void expect_discarded(const fs::path& run, size_t lines) {
    size_t discarded = 0;
    if (fs::exists(run / "metrics.discarded.jsonl")) {
      const std::string text = read_file(run / "metrics.discarded.jsonl");
      discarded = static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
    }
    EXPECT_EQ(discarded, lines);
  }

  int64_t last_saved_ = 0;
};

TEST_F(ResumeAfterKill, in_the_middle_of_a_save) {
  options_ = tiny_path(data_, 6, "--save-interval 3");
  const auto run = at("run");
  kill_at(
      run, [&] { return saves_now(run); }, mixed);
  const auto behind = metrics_count(run) - static_cast<size_t>(last_saved_);
  expect_as_if_never_stopped(run, last_saved_ + 7, mixed);
  expect_discarded(run, behind);
}

TEST_F(ResumeAfterKill, between_saves) {
  options_ = tiny_path(data_, 6, "--save-interval 4 --tensorboard " + at("events").string());
  const auto run = at("run");
  kill_at(run, [&] { return metrics_count(run) >= 10 && !saves_now(run); }, {.pp = 2});
  const auto behind = metrics_count(run) - static_cast<size_t>(last_saved_);
  expect_as_if_never_stopped(run, last_saved_ + 7, {.pp = 2});
  expect_discarded(run, behind);
  expect_shown(run);
  expect_shown(at("run-whole"));
}

TEST_F(Resume, continues_in_another_layout) {
  options_ = tiny_path(data_, 4);
  const Layout cube{.tp = 2, .dp = 2, .pp = 2};
  train(at("whole"), until(24), cube);
  train(at("run"), until(12), cube);
  fs::copy(at("run"), at("other"), fs::copy_options::recursive);
  train(at("run"), until(24));
  train(at("other"), until(24), {.dp = 4, .pp = 2});
  expect_same_steps(at("whole"), at("run"), 1, 12);
  expect_close_steps(at("whole"), at("run"), 1, 24);
  expect_close_steps(at("whole"), at("other"), 1, 24);
}

TEST_F(Resume, going_back_repeats_the_bits_and_keeps_what_is_given_up) {
  options_ = tiny_path(data_, 6, "--save-interval 5");
  const auto run = at("run");
  train(run, until(18) + " --tensorboard " + at("events").string());
  train(run, until(18) + " --load-step 5");
  EXPECT_EQ(saved_steps(run), (std::vector<int64_t>{5, 10, 15, 18}));
  expect_whole_log(run, 1, 18);
  expect_shown(run);  // as the first start was told to
  for (const int64_t step : {10, 15, 18}) {
    const auto given_up = run / "discarded" / checkpoint_of(run, step).filename();
    expect_same_tensors(given_up, checkpoint_of(run, step));
  }
  std::ifstream stream(run / "metrics.discarded.jsonl");
  std::vector<nlohmann::json> discarded;
  for (std::string line; std::getline(stream, line);) {
    discarded.push_back(nlohmann::json::parse(line));
  }
  ASSERT_EQ(discarded.size(), 13u);
  const auto lines = metrics_of(run);
  for (size_t i = 0; i < 13; ++i) EXPECT_EQ(discarded[i].at("loss"), lines[i + 5].at("loss"));
}

}  // namespace
}  // namespace switchyard::test
