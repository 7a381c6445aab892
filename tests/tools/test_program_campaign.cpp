// Campaigns as their user runs them: carried out, killed, changed on the way.
#include <gtest/gtest.h>
#include <signal.h>

#include <fstream>
#include <random>
#include <set>
#include <thread>

#include "core/files.h"
#include "tests/tools/campaign_folder.h"
#include "tests/tools/paths.h"

namespace fs = std::filesystem;

namespace switchyard::test {
namespace {

using namespace std::chrono_literals;

class Campaigns : public ::testing::Test {
 protected:
  void carry_out(const std::string& name) const {
    run_well("campaign run " + folder_.at(name + ".toml"));
  }
  // Every checkpoint that both campaigns must have: each path's last.
  void expect_same_ends(const std::string& a, const std::string& b) const {
    const auto there = folder_.status(a);
    for (const auto& path : there["paths"]) {
      const std::string name = path["path"];
      SCOPED_TRACE(name);
      const int64_t last = path["last_step"];
      expect_same_tensors(checkpoint_of(folder_.at(a) + "/" + name, last),
                          checkpoint_of(folder_.at(b) + "/" + name, last));
    }
  }
  CampaignFolder folder_;
};

TEST_F(Campaigns, FourVersionsCountTenFourAndFivePointEightT) {
  folder_.write("arms", 4, "arms = [\"path-switching\", \"ptfs\", \"cpt\"]\n",
                "[executor]\njobs = 2\n");
  carry_out("arms");
  const int64_t T = 10;
  for (const auto& [arm, steps] :
       {std::pair{"path-switching", 58 * T / 10}, {"ptfs", 10 * T}, {"cpt", 4 * T}}) {
    const auto last = folder_.last_version("arms", arm);
    EXPECT_EQ(last["counted_steps"], steps) << arm;
    EXPECT_EQ(last["planned_steps"], steps) << arm;
    EXPECT_EQ(last["redone_steps"], 0) << arm;
    EXPECT_EQ(last["replayed_steps"], 0) << arm;
    EXPECT_GT(last["scores"]["held"]["loss"], 0) << arm;
  }
  // A branch reads the samples that the main path reads, under another rate.
  const auto main = metrics_of(folder_.at("arms/main"));
  const auto branch = metrics_of(folder_.at("arms/path-switching/v2"));
  ASSERT_EQ(branch.size(), 6U);
  EXPECT_EQ(branch.front()["loss"], main[14]["loss"]);  // step 15: the same weights and samples
  EXPECT_LT(branch.front()["learning_rate"], main[14]["learning_rate"]);
  EXPECT_EQ(branch.back()["learning_rate"], 0);
}

TEST_F(Campaigns, KilledFiftyTimesItGivesTheBitsOfOneThatWasNot) {
  const std::string top = "arms = [\"path-switching\", \"averaged-trunk\"]\n";
  const std::string tables =
      "[main]\nsave-interval = 1\nkeep-checkpoints = 1\nscore = true\n[arm.averaged-trunk]\nevery "
      "= 2\n";
  folder_.write("whole", 4, top, tables);
  folder_.write("killed", 4, top, tables);
  carry_out("whole");
  const unsigned seed = std::random_device{}();
  std::mt19937 random(seed);
  SCOPED_TRACE("seed " + std::to_string(seed));
  int kills = 0, rounds = 0;
  while (kills < 50) {
    Program program(words("campaign run " + folder_.at("killed.toml")));
    const auto patience = std::chrono::milliseconds(
        std::uniform_int_distribution<int>(5, kills < 40 ? 400 : 900)(random));
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (program.running() && std::chrono::steady_clock::now() < deadline)
      std::this_thread::sleep_for(2ms);
    if (!program.running()) {  // done: once more from the start
      ASSERT_EQ(program.wait().exit_code, 0);
      expect_same_ends("whole", "killed");
      fs::remove_all(folder_.at("killed"));
      ASSERT_LT(++rounds, 20);
      continue;
    }
    // Sometimes all at once, sometimes the campaign alone, whose jobs then save and end.
    const bool all = std::bernoulli_distribution(0.7)(random);
    const auto victims = descendants(program.pid());
    for (const pid_t victim : victims) {
      if (all || victim == program.pid()) kill(victim, SIGKILL);
    }
    program.wait();
    ++kills;
  }
  const auto end = run(words("campaign run " + folder_.at("killed.toml")));
  ASSERT_EQ(end.exit_code, 0) << end.err;
  expect_same_ends("whole", "killed");
  EXPECT_EQ(folder_.last_version("killed", "path-switching")["counted_steps"], 58);
  EXPECT_EQ(folder_.last_version("killed", "averaged-trunk")["counted_steps"], 40);
}

TEST_F(Campaigns, AVersionIsAddedWhileTheMainPathTrains) {
  folder_.write("grows", 2, "", "", 40);
  Program program(words("campaign run " + folder_.at("grows.toml")));
  ASSERT_TRUE(wait_until([&] { return fs::exists(folder_.at("grows/main/metrics.jsonl")); }, 60));
  run_well("campaign add-version " + folder_.at("grows.toml") +
           " --name v3 --steps 20 --share 0.5 --data-path " + folder_.at("d3"));
  ASSERT_EQ(program.wait().exit_code, 0) << program.errors_so_far();
  const auto last = folder_.last_version("grows", "path-switching");
  EXPECT_EQ(last["version"], "v3");
  EXPECT_EQ(last["counted_steps"], 40 + 40 + 10 + 24 + 24 + 10);
  // As if it had been there from the first.
  folder_.write("at-once", 2, "", "", 40);
  run_well("campaign add-version " + folder_.at("at-once.toml") +
           " --name v3 --steps 20 --share 0.5 --data-path " + folder_.at("d3"));
  carry_out("at-once");
  expect_same_ends("at-once", "grows");
  // And to a campaign that is complete.
  run_well("campaign add-version " + folder_.at("grows.toml") +
           " --name v4 --steps 10 --data-path " + folder_.at("d4"));
  carry_out("grows");
  EXPECT_EQ(folder_.last_version("grows", "path-switching")["version"], "v4");
}

TEST_F(Campaigns, AFailedBranchRunsAgain) {
  folder_.write("fails", 2, "", "valid-data-path = \"gone\"\neval-interval = 2\n");
  const auto failed = run(words("campaign run " + folder_.at("fails.toml")));
  EXPECT_EQ(failed.exit_code, 2) << failed.err;
  EXPECT_NE(failed.err.find("logs/path-switching/v1.log"), std::string::npos) << failed.err;
  // All others were made.
  const auto status = folder_.status("fails");
  for (const auto& path : status["paths"]) {
    const bool is_branch = path["path"] != "main";
    EXPECT_EQ(path["state"], is_branch ? "waiting" : "finished") << path;
  }
  folder_.write("fails", 2);
  carry_out("fails");
  folder_.write("whole", 2);
  carry_out("whole");
  expect_same_ends("whole", "fails");
  // A newest step under another name counts nowhere.
  const auto end = saved_steps(folder_.at("fails/main")).back();
  const auto newest = checkpoint_of(folder_.at("fails/main"), end);
  fs::rename(newest, checkpoint_of(folder_.at("fails/main"), end + 1));
  const auto main = folder_.status("fails")["paths"][0];
  EXPECT_EQ(main["state"], "stopped") << main;
  EXPECT_EQ(main["notes"].size(), 1) << main;
}

TEST_F(Campaigns, ArmsRunSideBySide) {
  const std::string top = "arms = [\"path-switching\", \"cpt\"]\nseeds = [5, 6]\n";
  folder_.write("alone", 2, top);
  folder_.write("beside", 2, top, "[executor]\njobs = 3\n");
  carry_out("alone");
  Program program(words("campaign run " + folder_.at("beside.toml")));
  size_t most = 0;
  while (program.running()) {
    std::set<pid_t> trainers;
    for (const pid_t pid : descendants(program.pid())) {
      std::ifstream line("/proc/" + std::to_string(pid) + "/cmdline");
      const std::string text{std::istreambuf_iterator<char>(line), {}};
      if (text.find(std::string("\0train\0", 7)) != std::string::npos) trainers.insert(pid);
    }
    most = std::max(most, trainers.size());
    std::this_thread::sleep_for(5ms);
  }
  ASSERT_EQ(program.wait().exit_code, 0);
  EXPECT_GE(most, 2U);
  EXPECT_LE(most, 3U);
  expect_same_ends("alone", "beside");
}

TEST_F(Campaigns, ASignalLetsJobsSaveAndTheNextRunGoesOn) {
  folder_.write("stopped", 2, "", "", 60);
  Program program(words("campaign run " + folder_.at("stopped.toml")));
  ASSERT_TRUE(wait_until([&] { return fs::exists(folder_.at("stopped/main/metrics.jsonl")); }, 60));
  kill(program.pid(), SIGINT);
  EXPECT_EQ(program.wait().exit_code, 75);
  EXPECT_GT(saved_steps(folder_.at("stopped/main")).size(), 0U);
  const auto whole = run(words("campaign run " + folder_.at("stopped.toml")));
  EXPECT_EQ(whole.exit_code, 0);
  EXPECT_NE(whole.err.find("] 100% of 156 steps; "), std::string::npos) << whole.err;
  EXPECT_EQ(folder_.last_version("stopped", "path-switching")["redone_steps"], 0);
}

TEST_F(Campaigns, AScoreIsOfTheDataAndTheCheckpointThatTheFileMeans) {
  const auto loss = [&] {
    return folder_.last_version("scored", "path-switching")["scores"]["held"]["loss"];
  };
  folder_.write("scored", 1);
  carry_out("scored");
  const auto first = loss();
  std::string text = read_file(folder_.at("scored.toml"));
  text.replace(text.find("held = \"held\""), 13, "held = \"d2\"");
  write_file_atomically(folder_.at("scored.toml"), text);
  EXPECT_EQ(loss(), nullptr);
  carry_out("scored");
  const auto second = loss();
  EXPECT_NE(second, first);
  // Another branch in the place of the first.
  fs::remove_all(folder_.at("scored/path-switching/v1"));
  text.replace(text.find("share = 0.6"), 11, "share = 0.5");
  write_file_atomically(folder_.at("scored.toml"), text);
  carry_out("scored");
  EXPECT_NE(loss(), second);
}

TEST_F(Campaigns, EveryArmIsMade) {
  folder_.write("all", 2,
                "arms = [\"path-switching\", \"ptfs\", \"cpt\", \"wsd-s\", \"averaged-trunk\", "
                "\"soup\"]\n",
                "[main]\nscore = true\nsave-interval = 1\naverage = "
                "[\"ema:beta=0.9,every=2\"]\n[arm.averaged-trunk]\n"
                "every = 1\n[arm.soup]\nseeds = [1, 2]\n[executor]\njobs = 2\n");
  carry_out("all");
  const std::map<std::string, int64_t> steps = {
      {"path-switching", 26}, {"ptfs", 30}, {"cpt", 20},  {"wsd-s", 20},
      {"averaged-trunk", 20}, {"soup", 38}, {"main", 20}, {"main-ema", 20}};
  for (const auto& [arm, count] : steps) {
    const auto last = folder_.last_version("all", arm);
    EXPECT_EQ(last["counted_steps"], count) << arm;
    EXPECT_GT(last["scores"]["held"]["loss"], 0) << arm;
  }
  carry_out("all");  // nothing is left to do
}

}  // namespace
}  // namespace switchyard::test
