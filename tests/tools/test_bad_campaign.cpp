// Campaigns that cannot be, or that are not what lies in their folder: refused before anything
// runs.
#include <gmock/gmock.h>

#include <fstream>
#include <sstream>

#include "tests/tools/campaign_folder.h"
#include "tests/tools/paths.h"
#include "tests/tools/refusal.h"

namespace fs = std::filesystem;

namespace switchyard::test {
namespace {

using testing::HasSubstr;
using Parts = std::vector<std::string>;

std::string text_of(const fs::path& file) {
  std::ostringstream text;
  text << std::ifstream(file).rdbuf();
  return text.str();
}

class BadCampaign : public testing::Test {
 protected:
  std::string at(const std::string& name) const { return folder_.at(name); }
  std::string file() const { return at("c.toml"); }
  void write(const std::string& top = "", const std::string& tables = "") const {
    folder_.write("c", 2, top, tables, 4);
  }
  void replace(const std::string& from, const std::string& to) const {
    std::string text = text_of(file());
    const size_t place = text.find(from);
    ASSERT_NE(place, std::string::npos) << from;
    std::ofstream(file()) << text.replace(place, from.size(), to);
  }
  CampaignFolder folder_;
};

TEST_F(BadCampaign, WordsThatSayNothing) {
  write();
  const std::string run = "campaign run " + file();
  expect_refused("campaign", {"plan, run, submit, status or add-version, and FILE"});
  expect_refused("campaign run", {"'run' was given"});
  expect_refused("campaign go " + file(), {"'go'; plan, run, submit, status and add-version"});
  expect_refused(run + " more", {"'more'"});
  expect_refused("campaign run " + at("none.toml"), {"none.toml' is no file"});
  expect_refused("campaign run " + at(""), {"is no file"});
  expect_refused(run + " --json", {"--json is no option of 'campaign run'"});
  expect_refused("campaign plan " + file() + " --name v", {"--name is no option of"});
  expect_refused("campaign status " + file() + " --device-tflops 1", {"--device-tflops is no"});
  expect_refused("campaign plan " + file() + " --device-tflops 0", {"above 0"});
  EXPECT_FALSE(fs::exists(at("c")));
}

TEST_F(BadCampaign, WhatCannotBeLeavesNothing) {
  const auto refuse = [&](const std::string& from, const std::string& to, const Parts& parts) {
    write();
    replace(from, to);
    expect_refused("campaign plan " + file(), parts);
    expect_refused("campaign run " + file(), parts);
    EXPECT_FALSE(fs::exists(at("c"))) << to;
  };
  refuse("\"d2\"", "\"none\"", {"c.toml:", "version[2].data-path", "none.idx' is not there"});
  refuse("\"held\"", "\"none\"", {"held-out.held", "none.idx' is not there"});
  refuse("0.6", "1.6", {"c.toml:", "branch.share = 1.6", "share <= 1"});
  refuse("hidden-size = 32", "hidden-size = 33",
         {"c.toml:5: train.hidden-size", "--hidden-size 33 with --num-attention-heads 2"});
  refuse("lr = 1e-3\n", "", {"train.lr is missing"});
  refuse("num-layers = 2", "num-layers = 2\nvocab-size = 100", {"vocabulary of 100", "257"});
  refuse("[branch]", "[layout]\nranks = 3\nmicro-batch-size = 2\n[branch]",
         {"3 data-parallel ranks for 2 microbatches"});
  refuse("[branch]", "[layout.branch]\ntp = 4\n[branch]", {"--num-attention-heads 2 with --tp 4"});
  write();
  replace("\"c\"", "\"/proc/none\"");  // root may write into folders that are read-only
  expect_refused("campaign run " + file(), {"/proc/none' cannot be made"}, 1, 5);
}

// Every value that paths which are there were made with.
TEST_F(BadCampaign, AChangedFileNamesBothValues) {
  const std::string arms = "arms = [\"path-switching\", \"ptfs\", \"averaged-trunk\"]\n";
  const std::string tables =
      "min-lr = 1e-5\n[main]\nsave-interval = 1\n[arm.ptfs]\nlr = 2e-3\n"
      "[arm.averaged-trunk]\nevery = 1\nwindow = 2\nweights-of = \"linear\"\n";
  write(arms, tables);
  run_well("campaign run " + file());
  const auto before = contents_of(at("c"));
  const auto refuse = [&](const std::string& from, const std::string& to, const Parts& parts) {
    write(arms, tables);
    replace(from, to);
    expect_refused("campaign plan " + file(), parts);
  };
  refuse("lr = 1e-3", "lr = 3e-3", {"c.toml:10: train.lr: lr = 0.003", "made with 0.001"});
  refuse("lr = 2e-3", "lr = 3e-3", {"arm.ptfs.lr: lr = 0.003", "made with 0.002"});
  refuse("0.6", "0.25", {"version[1]: ", "begins at step 3", "from step 2"});
  refuse("min-lr = 1e-5", "min-lr = 1e-6", {"branch.min-lr: min-lr = 1e-06", "with 1e-05"});
  refuse("min-lr = 1e-5\n", "", {"min-lr = 0", "made with 1e-05"});
  refuse("hidden-dropout = 0.1\n", "", {"hidden-dropout = 0", "made with 0.1"});
  refuse("lr = 1e-3", "lr = 1e-3\nseed = 7", {"train.seed: seed = 7", "made with 1234"});
  refuse("[train]", "seeds = [7]\n[train]", {"c.toml:4: seeds: seed = 7", "made with 1234"});
  refuse("steps = 4", "steps = 5", {"version[2]: ", "behind step 5, but it is at step 8"});
  refuse("\"d1\"", "\"d3\"", {"version[1].data-path = ", "/d3, but", "reads ", "/d1"});
  refuse("\"d2\"", "\"gone\"", {"version[2].data-path = ", "/gone, but", "/d2 behind step 4"});
  refuse("\"linear\"", "\"uniform\"", {"weights-of = \"uniform\"", "made with linear"});
  refuse("window = 2", "window = 3", {"the mean of the steps", "but it was made of"});
  expect_refused("campaign run " + file(), {"but it was made of"});
  EXPECT_TRUE(contents_of(at("c")) == before);
  write(arms, tables);
  run_well("campaign run " + file());
  EXPECT_TRUE(contents_of(at("c")) == before);  // all was done
  // Means and scores of steps that were not kept cannot come.
  write("arms = [\"averaged-trunk\"]\n",
        "[arm.averaged-trunk]\nevery = 1\nweights-of = \"linear\"\n");
  fs::remove_all(at("c/averaged-trunk/v1"));
  fs::remove_all(checkpoint_of(at("c/main"), 3));
  replace("[arm.", "[main]\nsave-interval = 1\n[arm.");
  expect_refused("campaign run " + file(), {"needs step 3 of 'main', which is at step 8"});
}

TEST_F(BadCampaign, OneRunAtATime) {
  write();
  replace("steps = 4", "steps = 40000");
  Program first(words("campaign run " + file()));
  ASSERT_TRUE(wait_until([&] { return fs::exists(at("c/main/metrics.jsonl")); }, 60));
  expect_refused("campaign run " + file(),
                 {"/c' is run by process " + std::to_string(first.pid()) + " on "});
  const auto status = nlohmann::json::parse(run_well("campaign status " + file() + " --json"));
  EXPECT_EQ(status["paths"][0]["state"], "running");
  EXPECT_EQ(status["paths"][1]["state"], "waiting");
  run_well("campaign plan " + file());
  EXPECT_TRUE(first.running());
}

TEST_F(BadCampaign, PlanAndStatusOfAnEmptyAndAWholeOne) {
  write();
  const auto said = [&](const std::string& word) {
    return nlohmann::json::parse(run_well("campaign " + word + " " + file() + " --json"));
  };
  EXPECT_EQ(said("plan")["paths"].size(), 3U);
  EXPECT_EQ(said("status")["paths"][0]["state"], "waiting");
  EXPECT_FALSE(fs::exists(at("c")));
  const auto planned = said("plan");
  run_well("campaign run " + file());
  EXPECT_EQ(said("plan"), planned);
  const auto whole = said("status");
  for (const auto& path : whole["paths"]) EXPECT_EQ(path["state"], "finished");
  EXPECT_EQ(whole["seconds_left"], 0);
  for (const auto& v : whole["versions"]) EXPECT_EQ(v["counted_steps"], v["planned_steps"]);
}

TEST_F(BadCampaign, AVersionThatCannotBeAddedLeavesTheFile) {
  write();
  const auto refuse = [&](const std::vector<std::string>& more, const Parts& parts) {
    const std::string before = text_of(file());
    std::vector<std::string> line = {"campaign", "add-version", file()};
    line.insert(line.end(), more.begin(), more.end());
    expect_refused(line, parts);
    EXPECT_EQ(text_of(file()), before);
  };
  const auto v = [](const std::string& name, const std::string& data, const Parts& more = {}) {
    Parts all = {"--name", name, "--steps", "4", "--data-path", data};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  refuse({}, {"--name"});
  refuse({"--name", "v3"}, {"--steps"});
  refuse({"--name", "v3", "--steps", "4"}, {"--data-path"});
  refuse({"--name", "v3", "--steps", "0", "--data-path", "d"}, {"--steps 0"});
  refuse(v("v2", "d3"), {"version[3]: name = \"v2\", as at"});
  refuse(v("a b", "d3"), {"version[3].name = \"a b\""});
  refuse(v("v3", ""), {"prefix of a token set"});
  refuse(v("v3", "d3", {"--share", "1.5"}), {"--share 1.5"});
  refuse(v("v3", "d3", {"--held-out", "x"}), {"--held-out x; NAME=PREFIX"});
  refuse(v("v3", "d3", {"--held-out", "held=x"}), {"version[3].held-out.held", "there already"});
  refuse({"--name", "v3", "--steps", "4", "--data-path", "a", "b"}, {"a' is not a weight"});
  refuse(v("v3", "d9"), {"--data-path: '", "/d9.idx' is not there"});
  refuse({"--name", "v3", "--steps", "4", "--data-path", "0.5", at("d1"), "0.5", at("d9")},
         {"--data-path: '" + at("d9.idx") + "' is not there"});
  refuse(v("v3", at("d1"), {"--held-out", "x=d9"}), {"--held-out x=d9: 'd9.idx' is not there"});
  replace("[train]", "[train");
  refuse(v("v3", "d3"), {"c.toml:3: "});
}

// Names come back as they were given, seen from the file's folder.
TEST_F(BadCampaign, AddedNamesAreReadBackFromAnotherFolder) {
  write();
  const std::string before = text_of(file());
  fs::create_directories(at("other"));
  const auto here = fs::current_path();
  fs::current_path(at("other"));
  run_well("campaign add-version ../c.toml --name v3 --steps 4 --data-path ../d3");
  const std::string odd = "a \"b\" \\ c\td'";
  for (const char* end : {".idx", ".bin", ".json"})
    fs::copy(at("d4") + end, at("other/") + odd + end);
  const auto outcome =
      run({"campaign", "add-version", "../c.toml", "--name", "v4", "--steps", "4", "--data-path",
           "0.75", odd, "0.25", at("d1"), "--share", "0.5", "--held-out", "x=" + odd});
  fs::current_path(here);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_TRUE(text_of(file()).starts_with(before));
  EXPECT_THAT(text_of(file()), HasSubstr("data-path = \"d3\"\n"));
  const auto plan = nlohmann::json::parse(run_well("campaign plan " + file() + " --json"));
  EXPECT_EQ(plan["versions"].size(), 4U);  // all sets were found
  EXPECT_EQ(plan["versions"][3]["step"], 16);
}

}  // namespace
}  // namespace switchyard::test
