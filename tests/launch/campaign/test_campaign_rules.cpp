// What a campaign's file may say by itself but not together.
#include <gmock/gmock.h>

#include "launch/campaign/desired_paths.h"
#include "tests/launch/campaign/campaign_text.h"

namespace switchyard {
namespace {

using namespace test;
using testing::HasSubstr;
using testing::StartsWith;

// Each error begins with line, key and value.
void expect_refused(const std::string& from,
                    const std::vector<std::pair<std::string, std::string>>& all,
                    std::vector<Change> more = {}) {
  for (const auto& [to, begins] : all) {
    auto changes = more;
    changes.emplace_back(from, to);
    EXPECT_THAT(error_with(changes), StartsWith(begins)) << to;
  }
}

// A table in front of [held-out], from line 10, with these arms.
void expect_table_refused(const std::string& arms, const std::string& table,
                          const std::vector<std::pair<std::string, std::string>>& all,
                          std::vector<Change> more = {}) {
  more.emplace_back("\"path-switching\"", arms);
  for (const auto& [lines, begins] : all) {
    auto changes = more;
    changes.emplace_back("[held-out]", table + "\n" + lines + "\n[held-out]");
    EXPECT_THAT(error_with(changes), StartsWith(begins)) << lines;
  }
}

TEST(CampaignRules, Shares) {
  expect_refused("0.6", {{"0", "9: branch.share = 0; "},
                         {"-0.5", "9: branch.share = -0.5; "},
                         {"1.5", "9: branch.share = 1.5; a share of a version's steps, 0 < share"},
                         {"[0.5, 2]", "9: branch.share[2] = 2; "},
                         {"[0.5, 0.5, 0.5]", "9: branch.share has 3 shares for 2 versions; "},
                         {"0.001", "12: version[1]: a share of 0.001 of 10 steps is no step"},
                         {"[0.5, 0.6]\nshare-growth = 0.1",
                          "10: branch.share-growth = 0.1 with 2 shares; it is allowed with one"},
                         {"0.5\nshare-growth = -0.1", "10: branch.share-growth = -0.1; "},
                         {"0.5\nshare-growth = 1", "10: branch.share-growth = 1; "}});
  expect_refused("share = 0.6", {{"share-growth = 0.1", "9: branch.share-growth = 0.1 with 0"},
                                 {"log-interval = 1", "12: version[1]: branch.share is missing"}});
  expect_refused("steps = 20", {{"steps = 20\nshare = 2", "19: version[2].share = 2; "}});
}

TEST(CampaignRules, SharesGrowUpToOne) {
  const auto shares = [](const std::string& said) {
    std::string text = changed(small_campaign, {{"share = 0.6", said}});
    for (const char* name : {"v3", "v4"})
      text += std::string("[[version]]\nname = \"") + name + "\"\nsteps = 10\ndata-path = \"d\"\n";
    std::vector<double> all;
    for (const auto& v : parse_campaign(text, "/c/c.toml").versions) all.push_back(v.share);
    return all;
  };
  EXPECT_THAT(shares("share = 0.5"), testing::ElementsAre(0.5, 0.5, 0.5, 0.5));
  EXPECT_THAT(shares("share = [0.5, 0.25]"), testing::ElementsAre(0.5, 0.25, 0.25, 0.25));
  EXPECT_THAT(shares("share = 0.5\nshare-growth = 0.25"), testing::ElementsAre(0.5, 0.75, 1, 1));
}

TEST(CampaignRules, Versions) {
  expect_refused("\"v2\"", {{"\"v1\"", "16: version[2]: name = \"v1\", as at four.toml:12: "},
                            {"\"\"", "17: version[2].name = \"\"; "},
                            {"\"../v\"", "17: version[2].name = \"../v\"; "},
                            {"\".v\"", "17: version[2].name = \".v\"; "},
                            {"\"-v\"", "17: version[2].name = \"-v\"; "},
                            {"\"a b\"", "17: version[2].name = \"a b\"; "},
                            {"\"\xc3\xbc\"", "17: version[2].name = \"\xc3\xbc\"; up to 100"},
                            {'"' + std::string(101, 'v') + '"', "17: version[2].name = \"vvv"}});
  expect_refused("name = \"v1\"\n", {{"", "12: version[1]: name is missing"}});
  expect_refused("steps = 10\n", {{"", "12: version[1]: steps is missing"}});
  expect_refused("data-path = \"d1\"\n", {{"", "12: version[1]: data-path is missing"}});
  expect_refused("steps = 10",
                 {{"steps = 0", "14: version[1].steps = 0; 1 to"},
                  {"steps = -1", "14: version[1].steps = -1; 1 to"},
                  {"steps = 9000000000000000", "14: version[1].steps = 9000000000000000; 1 to"}});
  expect_refused(
      "\"d1\"",
      {{"[\"a\", \"b\"]", "15: version[1].data-path: --data-path a b: 'a' is not a"},
       {"[1, \"a\", 0, \"b\"]", "15: version[1].data-path: --data-path 1 a 0 b: a weight of 0"},
       {"[0.5, \"a\", 0.5]", "15: version[1].data-path: --data-path 0.5 a 0.5: 3 values"}});
  expect_refused("web =", {{"\"a b\" =", "11: held-out.a b = \"a b\"; "},
                           {"feb =", "20: version[2].held-out.feb: a held-out set of this name"}});
  const std::string no_version = small_campaign.substr(0, small_campaign.find("[[version]]"));
  EXPECT_THAT(error_of(no_version), HasSubstr("[[version]] is missing"));
  EXPECT_THAT(error_of(changed(small_campaign, {{"folder = \"runs\"\n", ""}})),
              HasSubstr("folder is missing"));
}

TEST(CampaignRules, ArmsAndSeeds) {
  expect_refused("[\"path-switching\"]", {{"[]", "2: arms = []"},
                                          {"\"none\"", "2: arms = \"none\"; path-switching, ptfs"},
                                          {"[\"cpt\", \"cpt\"]", "2: arms = [\"cpt\", \"cpt\"]; "},
                                          {"[[\"cpt\"]]", "2: arms[1] = [\"cpt\"]; "}});
  expect_refused("[train]", {{"seeds = []\n[train]", "3: seeds = []"},
                             {"seeds = [1, 1]\n[train]", "3: seeds = [1, 1]; whole numbers"},
                             {"seeds = [-1]\n[train]", "3: seeds = [-1]; whole numbers"},
                             {"seeds = 1.5\n[train]", "3: seeds = 1.5; a whole number"},
                             {"seeds = [1]\n[train]\nseed = 3", "5: train.seed = 3, and seeds"},
                             {"[train]\nseed = -3", "4: train.seed = -3; "},
                             {"[train]\nseed = \"a\"", "4: train.seed = \"a\"; "}});
}

TEST(CampaignRules, AveragedTrunk) {
  const std::string arms = "\"averaged-trunk\"", table = "[arm.averaged-trunk]";
  expect_table_refused(
      arms, table,
      {{"every = 0",
        "11: arm.averaged-trunk.every = 0, but version v1 ends at step 10 and 6 steps"},
       {"every = -2", "11: arm.averaged-trunk.every = -2"},
       {"every = 4", "11: arm.averaged-trunk.every = 4, but version v1 ends at step 10"},
       {"every = 5", "11: arm.averaged-trunk.every = 5, but version v1 ends at step 10 and 6"},
       {"every = 1.5", "11: arm.averaged-trunk.every = 1.5; a whole number"},
       {"every = 2\nwindow = 0", "12: arm.averaged-trunk.window = 0; at least 1"},
       {"every = 2\nwindow = 3", "11: arm.averaged-trunk.every = 2, but"},
       {"every = 2\nwindow = 12", "11: arm.averaged-trunk.every: 12 steps are averaged, but"},
       {"every = 2\nweights-of = \"x\"", "12: arm.averaged-trunk.weights-of: --weights-of x; "},
       {"every = 2\nweights-of = \"ema:2\"", "12: arm.averaged-trunk.weights-of: --weights-of ema"},
       {"every = 2\nweights-of = \"0.5,0.5\"",
        "12: arm.averaged-trunk.weights-of: --weights-of 0.5"},
       {"every = 2\nweights-of = 3", "12: arm.averaged-trunk.weights-of = 3; a text"}});
  EXPECT_THAT(error_with({{"\"path-switching\"", arms}}), HasSubstr("every is missing"));
}

TEST(CampaignRules, MembersOfMeansAreSavedAndKept) {
  const std::string arms = "\"averaged-trunk\"", table = "[arm.averaged-trunk]\nevery = 2";
  expect_table_refused(
      arms, table,
      {{"[main]\nsave-interval = 3", "13: main.save-interval = 3, but arm."},
       {"[main]\nsave-interval = 0", "13: main.save-interval = 0, but arm."},
       {"[main]\nkeep-checkpoints = 1\nkeep-every = 4", "14: main.keep-every = 4"}});
  expect_table_refused(arms, table, {{"", "8: train.save-interval = 4, but arm.averaged-trunk"}},
                       {{"[branch]", "save-interval = 4\n[branch]"}});
  const auto c =
      campaign_with({{"\"path-switching\"", arms},
                     {"[held-out]", "[main]\nkeep-checkpoints = 1\n" + table + "\n[held-out]"}});
  EXPECT_EQ(c.main_run.integer("save-interval"), 2);
  EXPECT_EQ(c.main_run.integer("keep-every"), 2);
  EXPECT_FALSE(c.branch_run.has("keep-every"));
}

TEST(CampaignRules, Soups) {
  expect_table_refused(
      "\"soup\"", "[arm.soup]",
      {{"seeds = [1]", "11: arm.soup.seeds = [1]; two or more"},
       {"seeds = [1, 1]", "11: arm.soup.seeds = [1, 1]; two or more"},
       {"seeds = [-1, 1]", "11: arm.soup.seeds = [-1, 1]; two or more"},
       {"seeds = \"a\"", "11: arm.soup.seeds = \"a\"; a whole number"},
       {"seeds = [1, 2]\nweights-of = \"x\"", "12: arm.soup.weights-of: --weights-of x; "},
       {"seeds = [1, 2]\nweights-of = \"1-sqrt\"", "12: arm.soup.weights-of: --weights-of 1-sqrt"},
       {"seeds = [1, 2]\nweights-of = \"1,0,0\"", "12: arm.soup.weights-of: --weights-of 1,0,0"}});
  EXPECT_THAT(error_with({{"\"path-switching\"", "\"soup\""}}),
              HasSubstr("arm.soup.seeds is miss"));
  expect_table_refused("\"soup\"", "[arm.soup]\nseeds = [1, 2]",
                       {{"", "15: version[1]: a soup's branches begin where the main path is"}},
                       {{"0.6", "1"}});
}

TEST(CampaignRules, WarmUpsEndBeforeTheirVersion) {
  expect_refused("iters = 3", {{"iters = 10", "7: train.lr-warmup-iters = 10, but version v1 has"},
                               {"iters = 2.5", "7: train.lr-warmup-iters: --lr-warmup-iters 2.5"}});
  expect_table_refused(
      "\"ptfs\"", "[arm.ptfs]",
      {{"lr-warmup-iters = 10", "11: arm.ptfs.lr-warmup-iters = 10, but version"}});
  expect_table_refused("\"cpt\"", "[arm.cpt]",
                       {{"lr-warmup-iters = 5", "11: arm.cpt.lr-warmup-iters = 5, but version v2"}},
                       {{"steps = 20", "steps = 5"}});
  expect_refused("\"path-switching\"",
                 {{"\"cpt\"", "7: train.lr-warmup-iters = 3, but version v2"}},
                 {{"steps = 20", "steps = 3"}});
}

TEST(CampaignRules, LayoutsAndExecutors) {
  const std::string arms = "\"path-switching\"";
  expect_table_refused(
      arms, "[layout]",
      {{"ranks = 3\ntp = 2", "10: layout: 3 ranks with tensor-model-parallel-size 2 and"},
       {"ranks = 0", "10: layout: 0 ranks"},
       {"ranks = 1.5", "11: layout.ranks = 1.5; a whole number"},
       {"ranks = 3000000", "10: layout: 3000000 ranks"},
       {"tp = 4294967296\npp = 4294967296", "10: layout: tensor-model-parallel-size 4294967296"},
       {"tp = 0", "11: layout.tp: --tp 0; at least 1"},
       {"[layout.score]\nranks = 3\npp = 2", "11: layout.score: 3 ranks"}});
  expect_table_refused(
      arms, "[layout]\nranks = 2\n[executor]",
      {{"kind = \"pbs\"", "13: executor.kind = \"pbs\"; local slurm is allowed"},
       {"time = \"1:00\"", "13: executor.time: this is for kind = \"slurm\""},
       {"launcher = \"x\"", "13: executor.launcher = \"x\"; auto"},
       {"jobs = 0", "13: executor.jobs = 0; at least 1"},
       {"ranks = 1", "13: executor.ranks = 1, but a job has 2; at least as many"},
       {"gpus = 0", "13: executor.gpus = 0; 1 to"},
       {"gpus = 1", "13: executor.gpus = 1, but a job has 2 ranks"},
       {"gpus = [0]", "13: executor.gpus = [0], but a job has 2 ranks"},
       {"gpus = []", "13: executor.gpus = []; "},
       {"gpus = [0, 0]", "13: executor.gpus[2] = 0; the index or the name of a GPU, each once"},
       {"gpus = [-1, 0]", "13: executor.gpus[1] = -1; "},
       {"gpus = [1.5]", "13: executor.gpus[1] = 1.5; "},
       {"gpus = true", "13: executor.gpus = true; "}});
  expect_table_refused(
      arms, "[layout]\nranks = 6\ntp = 2\n[executor]\nkind = \"slurm\"",
      {{"gpus = 2", "15: executor.gpus: this is for kind = \"local\"; with \"slurm\""},
       {"tasks-per-node = 0", "15: executor.tasks-per-node = 0; at least 1"},
       {"tasks-per-node = 4", "15: executor.tasks-per-node = 4, but a job has 6 ranks"},
       {"tasks-per-node = 3", "15: executor.tasks-per-node = 3, but tensor-model-parallel-size is"},
       {"mpi = \"pmi2\"", "15: executor.mpi = \"pmi2\"; none"},
       {"signal-seconds = -1", "15: executor.signal-seconds = -1; at least 0"},
       {"time = \"\"", "15: executor.time = \"\"; a word"},
       {"time = \"10m\"", "15: executor.time = 10m; M, M:S, H:M:S"},
       {"time = \"5\"",
        "15: executor.time = 5 is 300 s; more than executor.signal-seconds 300 is allowed"},
       {"time = 5", "15: executor.time = 5 is 300 s; more than"},
       {"time = \"1:00:00\"\nsignal-seconds = 3600",
        "15: executor.time = 1:00:00 is 3600 s; more than executor.signal-seconds 3600"},
       {"account = \"a\\\"b\"", "15: executor.account = "}});
}

TEST(CampaignRules, WhatEachPathNeeds) {
  for (const auto& [line, key] : {std::pair{"lr = 1e-3\n", "lr"},
                                  {"global-batch-size = 4\n", "global-batch-size"},
                                  {"preset = \"gpt2-tiny\"\n", "num-layers"}}) {
    try {
      desired_of(campaign_with({{line, ""}, {"\"path-switching\"", "\"cpt\""}}));
      ADD_FAILURE() << key;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr(std::string("four.toml: train.") + key + " is missing"));
    }
  }
}

// Where a name of a version and the suffix of another's path meet.
TEST(CampaignRules, NoTwoPathsShareAFolder) {
  const auto desire = [](const std::string& arm, const std::string& name) {
    desired_of(campaign_with({{"\"path-switching\"", arm},
                              {"\"v2\"", '"' + name + '"'},
                              {"[held-out]", "[arm.soup]\nseeds = [1, 2]\n[held-out]"}}));
  };
  for (const auto& [arm, name] : {std::pair{"\"wsd-s\"", "v1-stable"}, {"\"soup\"", "v1-seed-2"}}) {
    try {
      desire(arm, name);
      ADD_FAILURE() << arm;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr(":18: version[2]: ")) << arm;
      EXPECT_THAT(error.what(), HasSubstr(name)) << arm;
    }
  }
  desire("\"cpt\"", "v1-stable");
}

}  // namespace
}  // namespace switchyard
