// Campaigns whose paths begin with published weights.
#include <gmock/gmock.h>
#include <signal.h>

#include <fstream>

#include "core/files.h"
#include "tests/launch/path/imported_run.h"
#include "tests/tools/campaign_folder.h"
#include "tests/tools/paths.h"
#include "tests/tools/refusal.h"

namespace fs = std::filesystem;

namespace switchyard::test {
namespace {

using testing::HasSubstr;

class CampaignImported : public testing::Test {
 protected:
  CampaignImported() {
    train(at("first"), tiny_path(at("d4"), 4,
                                 "--num-layers 2 --hidden-size 32 --train-iters 4 "
                                 "--num-attention-heads 2 --save-interval 2"));
    import_step(at("hf"), 7, at("first"), 4);
  }
  std::string at(const std::string& name) const { return folder_.at(name); }
  // NAME.toml: two versions of six steps, from `from`, without the model's options.
  void write(const std::string& name, const std::string& from = "hf",
             const std::string& arms = "\"path-switching\"") const {
    std::ofstream(at(name + ".toml"))
        << "folder = \"" << name << "\"\nfrom = \"" << from << "\"\narms = [" << arms << R"(]
[train]
global-batch-size = 4
lr = 1e-3
lr-warmup-iters = 2
save-interval = 2
[held-out]
held = "held"
[branch]
share = 0.5
[[version]]
name = "v1"
steps = 6
data-path = "d1"
[[version]]
name = "v2"
steps = 6
data-path = "d2"
)";
  }
  std::string carry_out(const std::string& name) const {
    return run_well("campaign run " + at(name + ".toml"));
  }
  CampaignFolder folder_;
};

TEST_F(CampaignImported, EveryRootBeginsWithTheWeights) {
  write("c", "hf@7", R"("path-switching", "ptfs", "cpt", "wsd-s")");
  const auto plan = run_well("campaign plan " + at("c.toml"));
  EXPECT_THAT(plan, HasSubstr("hf@7"));
  EXPECT_FALSE(fs::exists(at("c")));
  carry_out("c");
  for (const std::string root : {"main", "ptfs/v1", "ptfs/v2", "cpt/v1", "wsd-s/v1-stable"}) {
    const auto path = RunFolder(at("c/" + root)).read();
    ASSERT_TRUE(path.begins_with_weights()) << root;
    EXPECT_EQ(path.lineage.back().imported->step, 7) << root;
  }
  const auto branch = RunFolder(at("c/path-switching/v2")).read();
  ASSERT_EQ(branch.lineage.size(), 2u);
  EXPECT_TRUE(branch.lineage.front().imported);
  // By hand it is the same main path.
  run_well("fork " + at("hf") + " " + at("by-hand") + " --data-path " + at("d1") +
           " --lr 1e-3 --lr-warmup-iters 2 --global-batch-size 4");
  train(at("by-hand"), "--train-iters 3");
  expect_same_steps(at("c/main"), at("by-hand"), 1, 3);
  EXPECT_THAT(run_well("campaign status " + at("c.toml")), HasSubstr("hf@7"));
  run_well("report " + at("c.toml") + " --output " + at("c.html"));
  // Another step of them, a random start, or other options are other paths.
  import_step(at("hf"), 9, at("first"), 2);
  carry_out("c");
  write("c", "hf@9");
  expect_refused("campaign run " + at("c.toml"),
                 {"c.toml:2: from", "hf@9", "begins with 'tiny-gpt2' (gpt2), step 7"});
  write("c", "hf@7");
  std::string text = read_file(at("c.toml"));
  text.replace(text.find("lr = 1e-3"), 9, "lr = 2e-3");
  write_file_atomically(at("c.toml"), text);
  expect_refused("campaign run " + at("c.toml"), {"c.toml:6: train.lr", "was made with 0.001"});
}

TEST_F(CampaignImported, KilledItGoesOnBitForBit) {
  write("whole");
  write("killed");
  carry_out("whole");
  for (const int milliseconds : {20, 80, 200, 400, 700}) {
    Program program(words("campaign run " + at("killed.toml")));
    wait_until([&] { return !program.running(); }, milliseconds / 1000.0);
    kill(program.pid(), SIGKILL);
    program.wait();
  }
  carry_out("killed");
  for (const std::string path : {"path-switching/v1", "path-switching/v2"}) {
    const int64_t last = saved_steps(at("whole/" + path)).back();
    expect_same_tensors(checkpoint_of(at("whole/" + path), last),
                        checkpoint_of(at("killed/" + path), last));
  }
}

TEST_F(CampaignImported, WhatCannotBeLeavesNothing) {
  const auto refuse = [&](const std::string& from, const std::vector<std::string>& parts) {
    write("c", from);
    expect_refused("campaign run " + at("c.toml"), parts);
    EXPECT_FALSE(fs::exists(at("c"))) << from;
  };
  refuse("none", {"'main' cannot be made", "no path in"});
  refuse("first@4", {"'main' cannot be made", "is a path; published weights"});
  refuse("hf@8", {"step 8", "not saved", "7"});
  import_step(at("hf"), 9, at("first"), 2);
  refuse("hf", {"has 2 checkpoints", "7, 9"});
  write("c", "hf@7");
  std::string text = read_file(at("c.toml"));
  text.replace(text.find("lr = 1e-3"), 9, "hidden-size = 64");
  write_file_atomically(at("c.toml"), text);
  expect_refused("campaign run " + at("c.toml"), {"train.lr is missing", "published weights"});
  text.replace(text.find("hidden-size = 64"), 16, "lr = 1e-3\nhidden-size = 64");
  write_file_atomically(at("c.toml"), text);
  expect_refused("campaign run " + at("c.toml"),
                 {"c.toml:7: train.hidden-size", "--hidden-size 64", "the weights have 32"});
}

}  // namespace
}  // namespace switchyard::test
