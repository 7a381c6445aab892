// The program on a GPU, where there is one or an emulated one: the same commands and files, and
// runs that move between devices. The CPU alone has the tests of resuming, branches and versions.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <cmath>

#include "core/device.h"
#include "core/files.h"
#include "launch/path/run_folder.h"
#include "tests/support/temporary_folder.h"
#include "tests/tools/paths.h"

namespace fs = std::filesystem;

namespace switchyard::test {
namespace {

#ifdef SWITCHYARD_TEST_DEVICE
const std::string device = SWITCHYARD_TEST_DEVICE;
#else
const std::string device = is_available(Device::cuda) ? "cuda" : "cpu";
#endif

class Devices : public ::testing::Test {
 protected:
  void SetUp() override {
    if (device == "cpu") GTEST_SKIP() << "there is no GPU";
  }
  fs::path at(const std::string& name) const { return folder_.path() / name; }
  std::string options(const std::string& others = "") const {
    return tiny_path(data_, 2,
                     "--num-layers 2 --hidden-size 16 --num-attention-heads 2 --seq-length 12 "
                     "--no-matmul-tuning " +
                         others);
  }
  void train_on(const std::string& where, const std::string& run, int64_t until,
                const std::string& others = "") const {
    train(at(run),
          options(others) + " --train-iters " + std::to_string(until) + " --device " + where);
  }
  double furthest(const std::string& a, const std::string& b) const {
    const auto mine = metrics_of(at(a)), others = metrics_of(at(b));
    EXPECT_EQ(mine.size(), others.size());
    double most = 0;
    for (size_t i = 0; i < mine.size(); ++i) {
      const double x = mine[i].at("loss"), y = others[i].at("loss");
      most = std::max(most, std::abs(x - y) / std::abs(x));
    }
    return most;
  }

  TemporaryFolder folder_;
  std::string data_ = make_tokens(folder_.path(), "text", 5'000);
};

TEST_F(Devices, train_like_the_cpu_and_repeat_their_bits_when_resumed) {
  train_on("cpu", "cpu", 6);
  train_on(device, "whole", 6);
  EXPECT_LE(furthest("cpu", "whole"), 1e-4);
  train_on(device, "stopped", 4);
  train_on(device, "stopped", 6);
  expect_whole_log(at("stopped"), 1, 6);
  expect_same_steps(at("whole"), at("stopped"), 1, 6);
  expect_same_tensors(checkpoint_of(at("whole"), 6), checkpoint_of(at("stopped"), 6));
}

TEST_F(Devices, hand_a_path_to_each_other) {
  train_on("cpu", "cpu", 6);
  train_on(device, "moves", 2);
  train_on("cpu", "moves", 4);
  train_on(device, "moves", 6);
  expect_whole_log(at("moves"), 1, 6);
  EXPECT_LE(furthest("cpu", "moves"), 1e-4);
}

TEST_F(Devices, go_on_after_a_kill_as_if_nothing_had_been) {
  const std::string often = "--save-interval 2 --bf16";
  {
    Program program(train_words(at("run"), options(often) + " --device " + device));
    ASSERT_TRUE(wait_until([&] { return saved_steps(at("run")).size() >= 2; }, 120))
        << program.errors_so_far();
    kill(program.pid(), SIGKILL);
    program.wait();
  }
  const int64_t last = saved_steps(at("run")).back() + 3;
  train_on(device, "run", last, often);
  train_on(device, "whole", last, often);
  expect_whole_log(at("run"), 1, last);
  expect_same_steps(at("whole"), at("run"), 1, last);
  expect_same_tensors(checkpoint_of(at("whole"), last), checkpoint_of(at("run"), last));
}

TEST_F(Devices, stop_by_a_signal_with_everything_saved) {
  Program program(train_words(at("run"), options() + " --device " + device));
  ASSERT_TRUE(wait_until([&] { return fs::exists(at("run") / "metrics.jsonl"); }, 120))
      << program.errors_so_far();
  kill(program.pid(), SIGUSR1);
  const auto outcome = program.wait();
  EXPECT_EQ(outcome.exit_code, 75) << outcome.err;
  const auto log = metrics_of(at("run"));
  ASSERT_FALSE(log.empty());
  const int64_t last = log.back().at("step");
  EXPECT_EQ(saved_steps(at("run")), std::vector<int64_t>{last});
  expect_whole_log(at("run"), 1, last);
}

// Validations and checkpoints between replayed steps change nothing.
TEST_F(Devices, replay_a_captured_step_with_the_same_bits) {
  const std::string others =
      "--split 80,20 --eval-interval 4 --eval-iters 1 --save-interval 5 --hidden-dropout 0.1";
  train_on(device, "plain", 8, others);
  train_on(device, "replayed", 6, others + " --cuda-graph");
  train_on(device, "replayed", 8, others + " --cuda-graph");
  expect_whole_log(at("replayed"), 1, 8);
  expect_same_steps(at("plain"), at("replayed"), 1, 8);
  expect_same_tensors(checkpoint_of(at("plain"), 8), checkpoint_of(at("replayed"), 8));
}

TEST_F(Devices, fork_score_and_continue_text) {
  train_on(device, "main", 4, "--hidden-dropout 0 --attention-dropout 0");
  run_well("fork " + at("main").string() + "@4 " + at("branch").string() +
           " --lr-decay-style linear --lr-decay-iters 8");  // the warm-up lasts to step 10
  run_well("train " + at("branch").string() + " --no-matmul-tuning --device " + device);
  EXPECT_THAT(saved_steps(at("branch")), testing::Contains(12));
  const auto score = [&](const std::string& where) {
    return nlohmann::json::parse(run_well("eval " + at("branch").string() + " --data-path " +
                                          data_ + " --json --micro-batch-size 16 --device " +
                                          where));
  };
  const double here = score(device).at("loss"), there = score("cpu").at("loss");
  EXPECT_NEAR(here, there, 1e-4 * there);
  const auto text = [&](const std::string& where) {
    return run_well("generate " + at("branch").string() +
                    " --prompt step --temperature 0 --max-new-tokens 4 --json --device " + where);
  };
  EXPECT_EQ(text(device), text("cpu"));
}

// The choice is part of the run: it is kept beside it, and timed anew for another device alone.
TEST_F(Devices, time_matrix_products_once) {
  const std::string shape =
      "--num-layers 1 --hidden-size 16 --num-attention-heads 2 --seq-length 8 --bf16 --device ";
  const auto errors_of = [&](int64_t until) {
    const auto outcome = run(train_words(at("run"), tiny_path(data_, 2, shape + device) +
                                                        " --train-iters " + std::to_string(until)));
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return outcome.err;
  };
  EXPECT_NE(errors_of(1).find("timing algorithms of"), std::string::npos);
  const fs::path file = at("run") / "matmul.jsonl";
  const std::string table = read_file(file);
  EXPECT_EQ(errors_of(2).find("timing algorithms of"), std::string::npos);
  EXPECT_EQ(read_file(file), table);
  const std::string name = "\"device\":\"";
  std::string foreign = table;
  foreign.insert(foreign.find(name) + name.size(), "another ");
  write_file_atomically(file, foreign);
  const std::string errors = errors_of(3);
  EXPECT_NE(errors.find("bits may differ"), std::string::npos) << errors;
  EXPECT_NE(errors.find("timing algorithms of"), std::string::npos);
  EXPECT_EQ(read_file(file).substr(0, 120), table.substr(0, 120));
  fs::remove(file);
  EXPECT_NE(errors_of(4).find("bits may differ"), std::string::npos);
}

TEST_F(Devices, give_a_branch_its_parents_products_and_bits) {
  train(at("run"), tiny_path(data_, 2,
                             "--num-layers 1 --hidden-size 16 --num-attention-heads 2 "
                             "--seq-length 8 --bf16 --save-interval 2 --train-iters 4 --device " +
                                 device));
  run_well("fork " + at("run").string() + "@2 " + at("branch").string());
  EXPECT_EQ(read_file(at("branch") / "matmul.jsonl"), read_file(at("run") / "matmul.jsonl"));
  const auto outcome =
      run({"train", at("branch").string(), "--train-iters", "4", "--device", device});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.err.find("bits may differ"), std::string::npos) << outcome.err;
  expect_same_tensors(checkpoint_of(at("run"), 4), checkpoint_of(at("branch"), 4));
}

TEST_F(Devices, give_no_step_up_for_a_start_that_fails) {
  train(at("run"), tiny_path(data_, 2,
                             "--num-layers 1 --hidden-size 16 --num-attention-heads 2 "
                             "--seq-length 8 --save-interval 1 --train-iters 3 --device " +
                                 device));
  const fs::path file = at("run") / "matmul.jsonl";
  write_file_atomically(file, read_file(file) + "no line of a table\n");
  const auto refused = run(
      {"train", at("run").string(), "--load-step", "1", "--train-iters", "4", "--device", device});
  EXPECT_NE(refused.exit_code, 0);
  EXPECT_NE(refused.err.find("matmul.jsonl"), std::string::npos) << refused.err;
  EXPECT_EQ(saved_steps(at("run")), (std::vector<int64_t>{1, 2, 3}));
}

TEST_F(Devices, train_in_fp16_with_a_loss_scale) {
  const std::string fp16 = "--fp16 --initial-loss-scale 268435456 --hysteresis 1";
  const auto refused = run(train_words(at("cpu"), options(fp16) + " --device cpu"));
  EXPECT_NE(refused.exit_code, 0);
  EXPECT_NE(refused.err.find("fp16 on 'cpu'"), std::string::npos) << refused.err;
  EXPECT_FALSE(fs::exists(at("cpu")));
  train_on(device, "whole", 24, fp16);
  train_on(device, "stopped", 5, fp16);
  train_on(device, "stopped", 24, fp16);
  expect_same_tensors(checkpoint_of(at("whole"), 24), checkpoint_of(at("stopped"), 24));
  const auto log = metrics_of(at("whole"));
  double scale = 268435456;
  int64_t skipped = 0;
  for (const auto& line : log) {
    EXPECT_EQ(line.at("loss_scale"), scale);
    if (line.at("skipped")) {
      scale /= 2;
      ++skipped;
    }
    EXPECT_EQ(line.at("skipped_steps"), skipped);
  }
  EXPECT_GT(skipped, 0);
  EXPECT_FALSE(log.back().at("skipped"));
  // The CPU reads its weights as fp32.
  run_well("eval " + at("whole").string() + " --data-path " + data_ + " --device cpu");
}

}  // namespace
}  // namespace switchyard::test
