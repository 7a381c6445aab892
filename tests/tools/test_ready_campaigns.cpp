// The campaigns of launch/campaigns/, which are for clusters: each is planned as it is, and carried
// out in a copy of a few steps of a small model.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <regex>

#include "core/files.h"
#include "tests/golden/published_file.h"
#include "tests/tools/campaign_folder.h"

namespace fs = std::filesystem;

namespace switchyard::test {
namespace {

const fs::path ready = fs::path(SWITCHYARD_SOURCE) / "launch/campaigns";

// A thousandth of all steps, one at least, for the first two versions; one rank.
std::string scaled_down(std::string text) {
  size_t end = 0;
  for (int i = 0; i < 3 && end != std::string::npos; ++i) end = text.find("[[version]]", end + 1);
  text.resize(std::min(end, text.size()));
  const std::regex steps(
      "((?:steps|lr-warmup-iters|save-interval|eval-interval|every|from) ?= ?)([0-9]+)");
  std::string scaled;
  std::sregex_iterator found(text.begin(), text.end(), steps), none;
  size_t behind = 0;
  for (; found != none; ++found) {
    const auto& match = *found;
    const auto place = static_cast<size_t>(match.position());
    const int64_t number = std::stoll(match.str(2));
    scaled += text.substr(behind, place - behind) + match.str(1);
    scaled += std::to_string(std::max<int64_t>(1, number / 1000));
    behind = place + match.str().size();
  }
  scaled += text.substr(behind);
  const std::pair<const char*, const char*> changes[] = {
      {"preset = \"gpt2-[^\"]*\"", "preset = \"gpt2-tiny\""},
      {"preset = \"llama-[^\"]*\"", "preset = \"llama-tiny\""},
      {"seq-length = [0-9]+", "seq-length = 32"},
      {"global-batch-size = [0-9]+", "global-batch-size = 4"},
      {"window = [0-9]+", "window = 5"},
      {"ranks = [0-9]+", "ranks = 1"},
      {"micro-batch-size = [0-9]+", "micro-batch-size = 2"},
      {"gpus = [0-9]+", "jobs = 2"},
      {"data/d", "d"},
      {"data/openwebtext-validation|data/held-out", "held"},
      {"data/openwebtext", "d1"}};
  for (const auto& [from, to] : changes) scaled = std::regex_replace(scaled, std::regex(from), to);
  return scaled;
}

class ReadyCampaigns : public ::testing::TestWithParam<std::string> {};

TEST_P(ReadyCampaigns, AFewStepsOfASmallCopyAreMade) {
  const CampaignFolder folder;
  const std::string text = scaled_down(read_file(ready / (GetParam() + ".toml")));
  std::ofstream(folder.at(GetParam() + ".toml")) << text;
  run_well("campaign run " + folder.at(GetParam() + ".toml"));
  for (const auto& version : folder.status(GetParam())["versions"]) {
    EXPECT_EQ(version["counted_steps"], version["planned_steps"]) << version;
    for (const auto& score : version["scores"]) EXPECT_GT(score["loss"], 0) << version;
  }
}

// Of published weights: Pythia's architecture, two layers.
TEST(ReadyCampaign, AFewStepsOfAPublishedModelAreMade) {
  const CampaignFolder folder;
  const std::string name = "pythia-160m-updates";
  write_published(read_published("gpt_neox_wide_heads"), folder.at("pythia"));
  run_well("convert --from " + folder.at("pythia") + " --to " + folder.at("pythia-160m") +
           " --step 143");
  std::ofstream(folder.at(name + ".toml")) << std::regex_replace(
      scaled_down(read_file(ready / (name + ".toml"))), std::regex("@143000"), "@143");
  run_well("campaign run " + folder.at(name + ".toml"));
  for (const auto& version : folder.status(name)["versions"]) {
    EXPECT_EQ(version["counted_steps"], version["planned_steps"]) << version;
  }
  run_well("convert --from " + folder.at(name + "/path-switching/september") + " --to " +
           folder.at("out"));
}

INSTANTIATE_TEST_SUITE_P(All, ReadyCampaigns, ::testing::Values("llama-1.2b", "gpt2-125m-lawa"));

TEST(ReadyCampaignFiles, AllCanBePlanned) {
  int count = 0;
  for (const auto& file : fs::directory_iterator(ready)) {
    if (file.path().stem() == "quickstart") continue;  // its vocabulary is that of its data
    if (file.path().stem() == "pythia-160m-updates") continue;  // it needs the imported model
    const auto plan = nlohmann::json::parse(
        run_well("campaign plan " + file.path().string() + " --json --without-data"));
    EXPECT_GT(plan["paths"].size(), 1U) << file.path();
    ++count;
  }
  EXPECT_GE(count, 4);
  const auto llama = nlohmann::json::parse(
      run_well("campaign plan " + (ready / "llama-1.2b.toml").string() + " --json --without-data"));
  EXPECT_NEAR(llama["parameters"].get<double>(), 1.16e9, 0.01e9);
  std::map<std::string, int64_t> steps;
  for (const auto& version : llama["versions"]) steps[version["arm"]] = version["steps"];
  EXPECT_EQ(steps["path-switching"], 58000);
  EXPECT_EQ(steps["ptfs"], 100000);
  EXPECT_EQ(steps["cpt"], 40000);
}

}  // namespace
}  // namespace switchyard::test
