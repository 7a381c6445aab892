// What --keep-checkpoints, --keep-every, --keep-moments and prune leave of a path, and what can
// still be done with it.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "launch/path/path_lock.h"
#include "launch/path/run_folder.h"
#include "tests/support/temporary_folder.h"
#include "tests/tools/paths.h"
#include "tests/tools/refusal.h"

namespace fs = std::filesystem;

namespace switchyard::test {
namespace {

using Steps = std::vector<int64_t>;

class Retained : public ::testing::Test {
 protected:
  fs::path at(const std::string& name) const { return folder_.path() / name; }
  std::string run() const { return at("run").string(); }
  Steps with_moments() const {
    Steps steps;
    for (const auto& entry : list_checkpoints(at("run") / "checkpoints")) {
      if (has_moments(entry)) steps.push_back(entry.step);
    }
    return steps;
  }
  std::string options(int64_t last, const std::string& more = "") const {
    return tiny_path(data_, 4, "--num-layers 2 --hidden-size 32 --bf16 --save-interval 2 " + more) +
           " --train-iters " + std::to_string(last);
  }
  void prune(const std::string& more, const Steps& saved, const Steps& whole) {
    run_well("prune " + run() + " " + more);
    EXPECT_EQ(saved_steps(at("run")), saved) << more;
    EXPECT_EQ(with_moments(), whole) << more;
  }
  TemporaryFolder folder_;
  std::string data_ = make_tokens(folder_.path(), "text", 30'000);
};

TEST_F(Retained, on_two_layouts_and_going_on_takes_it_over) {
  const std::string keep = "--keep-checkpoints 2 --keep-every 4 --keep-moments 2";
  train(at("run"), options(9, keep), {.tp = 2, .dp = 2});
  EXPECT_EQ(saved_steps(at("run")), (Steps{4, 8, 9}));
  EXPECT_EQ(with_moments(), (Steps{8, 9}));
  train(at("run"), options(15), {});
  EXPECT_EQ(saved_steps(at("run")), (Steps{4, 8, 12, 14, 15}));
  EXPECT_EQ(with_moments(), (Steps{14, 15}));
  train(at("whole"), options(9), {.tp = 2, .dp = 2});
  train(at("whole"), options(15), {});
  expect_same_steps(at("whole"), at("run"), 1, 15);
  expect_same_tensors(checkpoint_of(at("whole"), 15), checkpoint_of(at("run"), 15));
}

TEST_F(Retained, a_step_without_moments_is_read_but_not_gone_on_from) {
  train(at("run"), options(8, "--keep-moments 2"));
  EXPECT_EQ(saved_steps(at("run")), (Steps{2, 4, 6, 8}));
  EXPECT_EQ(with_moments(), (Steps{6, 8}));
  EXPECT_NE(run_well("inspect " + run() + "@2 --verify").find("no moments   2, 4"),
            std::string::npos);
  run_well("eval " + run() + "@2 --data-path " + data_);
  run_well("generate " + run() + "@2 --prompt a --max-new-tokens 2");
  run_well("average " + run() + " --steps 2:8:2 --output " + at("mean").string());
  EXPECT_EQ(test::run(words("compare " + run() + "@2 " + run() + "@4 --weights model")).exit_code,
            4);
  const std::vector<std::string> parts = {"step 4", "no moments", "6"};
  expect_refused("train " + run() + " --load-step 4 --train-iters 10", parts);
  run_well("replay " + run() + "@5:6");
  run_well("fork " + run() + "@4 " + at("again").string());
  train(at("again"), "--train-iters 5");
  const auto again = tensors_of(checkpoint_of(at("again"), 4));
  for (const auto& [tensor, bytes] : tensors_of(checkpoint_of(at("run"), 4)))
    EXPECT_TRUE(again.at(tensor) == bytes) << tensor;
  run_well("fork " + run() + "@6 " + at("branch").string());
  train(at("run"), options(12));
  EXPECT_EQ(with_moments(), (Steps{6, 10, 12}));  // the branch needs it
  train(at("branch"), "--train-iters 7");
}

TEST_F(Retained, prune_shows_first_and_does_it_with_yes) {
  train(at("run"), options(8));
  const Steps all = {2, 4, 6, 8};
  prune("", all, all);
  prune("--yes", all, all);
  EXPECT_NE(run_well("prune " + run()).find("nothing goes"), std::string::npos);
  EXPECT_NE(run_well("prune " + run() + " --keep-every 4").find("nothing is deleted"),
            std::string::npos);
  const std::string keep = "--keep-checkpoints 2 --keep-every 4 --keep-moments 2";
  prune(keep, all, all);
  const auto shown = nlohmann::json::parse(run_well("prune " + run() + " " + keep + " --json"));
  EXPECT_EQ(shown.at("steps").at(0).at("fate"), "goes");
  EXPECT_EQ(shown.at("steps").at(1).at("fate"), "loses moments");
  EXPECT_GT(shown.at("frees"), shown.at("steps").at(0).at("frees"));
  EXPECT_EQ(shown.at("done"), false);
  prune(keep + " --yes", {4, 6, 8}, {6, 8});
  train(at("run"), "--load-step 6 --train-iters 8 --keep-moments 1");
  EXPECT_NE(run_well("prune " + run()).find("discarded/step-00000008 stays"), std::string::npos);
  run_well("prune " + run() + " --yes");
  EXPECT_TRUE(fs::exists(at("run") / "discarded/step-00000008"));
  prune("--discarded --yes", {4, 6, 8}, {8});
  EXPECT_FALSE(fs::exists(at("run") / "discarded/step-00000008"));
}

TEST_F(Retained, no_good_step_goes_for_one_that_cannot_be_read) {
  train(at("run"), options(6));
  const fs::path master = checkpoint_of(at("run"), 6) / "checkpoint.h5";
  fs::resize_file(master, 0);
  for (const std::string yes : {"", " --yes"}) {
    const auto said = run_well("prune " + run() + " --keep-checkpoints 1" + yes);
    EXPECT_NE(said.find("cannot be read and does not count"), std::string::npos) << said;
    EXPECT_NE(said.find(master.string()), std::string::npos) << said;
  }
  EXPECT_EQ(saved_steps(at("run")), (Steps{4, 6}));
  train(at("run"), "--load-step 4 --train-iters 6");
  fs::remove(checkpoint_of(at("run"), 4) / "shards/rank-00000.h5");
  train(at("run"), "--train-iters 10 --keep-checkpoints 2");
  EXPECT_EQ(saved_steps(at("run")), (Steps{4, 8, 10}));
}

TEST_F(Retained, bad_input_is_refused) {
  train(at("run"), options(2));
  expect_refused("prune " + at("none").string(), {"no path"});
  expect_refused("prune", {"RUN"});
  expect_refused("prune " + run() + " --keep-checkpoints -1",
                 {"--keep-checkpoints -1", "at least 0"});
  expect_refused("prune " + run() + " --keep-moments x", {"--keep-moments x"});
  run_well("average " + run() + " --steps 2:2:1 --output " + at("mean").string());
  expect_refused("prune " + at("mean").string(), {"is an average"});
  expect_refused("train " + run() + " --keep-every -2 --train-iters 3", {"--keep-every -2"});
  const RunFolder folder(at("run"));
  const PathLock lock(folder);
  expect_refused("prune " + run() + " --keep-checkpoints 1 --yes", {"is being worked on"});
  run_well("prune " + run() + " --keep-checkpoints 1");
}

}  // namespace
}  // namespace switchyard::test
