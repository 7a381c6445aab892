// What a campaign wants: paths, stages, steps, of every arm.
#include <fmt/ranges.h>
#include <gmock/gmock.h>

#include <numeric>
#include <random>
#include <set>

#include "launch/campaign/desired_paths.h"
#include "tests/launch/campaign/campaign_text.h"

namespace switchyard {
namespace {

using namespace test;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::UnorderedElementsAre;

// Versions v1 ... of these steps over d1 ...; `top` in front of all tables, `tables` behind
// [train].
Campaign campaign_of(const std::vector<int64_t>& steps, const std::string& top,
                     const std::string& tables) {
  std::string text = "folder = 'runs'\n" + top + "\ntrain.preset = 'gpt2-tiny'\n" +
                     "train.lr = 1e-3\ntrain.global-batch-size = 4\n" + tables + "\n";
  for (size_t i = 0; i < steps.size(); ++i)
    text += fmt::format("[[version]]\nname = 'v{0}'\nsteps = {1}\ndata-path = 'd{0}'\n", i + 1,
                        steps[i]);
  return parse_campaign(text, "/c/c.toml");
}

Desired desired(const std::vector<int64_t>& steps, const std::string& top,
                const std::string& tables) {
  const auto campaign = campaign_of(steps, top, tables);
  return desired_of(campaign);
}

std::vector<std::string> names(const Desired& desired) {
  std::vector<std::string> all;
  for (const auto& path : desired.paths) all.push_back(path.name);
  return all;
}

// Name, where it begins, where it stops.
std::string show(const DesiredPath& path) {
  return fmt::format("{} {}@{} {}", path.name, path.parent, path.fork_step,
                     fmt::join(path.stops, ","));
}

std::vector<std::string> show(const Desired& desired) {
  std::vector<std::string> all;
  for (const auto& path : desired.paths) all.push_back(show(path));
  return all;
}

int64_t last_planned(const Desired& desired) {
  return planned_steps(desired, desired.versions.back());
}

TEST(Desired, BranchesOfAMainPath) {
  const auto all = desired({10, 20, 30}, "", "branch.share = 0.5");
  EXPECT_THAT(show(all),
              ElementsAre("main @0 5,10,20,30,45", "path-switching/v1 main@5 10",
                          "path-switching/v2 main@20 30", "path-switching/v3 main@45 60"));
  const auto& main = all.path("main");
  ASSERT_EQ(main.stages.size(), 2U);  // the last version has no main tail, but its data begin
  EXPECT_EQ(main.stages[1].at_step, 30);
  EXPECT_THAT(main.stages[1].data, ElementsAre("/c/d3"));
  EXPECT_THAT(main.options.list("data-path"), ElementsAre("/c/d1"));
  EXPECT_EQ(main.options.text("seed"), "1234");
  EXPECT_FALSE(main.options.has("lr-decay-style"));
  const auto& branch = all.path("path-switching/v2");
  EXPECT_EQ(branch.options.text("lr-decay-style"), "1-sqrt");
  EXPECT_EQ(branch.options.integer("lr-decay-iters"), 10);
  EXPECT_EQ(branch.options.text("min-lr"), "0");
  EXPECT_FALSE(branch.options.has("data-path"));  // those that the main path reads
}

TEST(Desired, SharesOfEveryKind) {
  EXPECT_THAT(show(desired({10, 10, 10}, "", "branch.share = 0.2\nbranch.share-growth = 0.3")),
              ElementsAre("main @0 8,10,15,20,22", "path-switching/v1 main@8 10",
                          "path-switching/v2 main@15 20", "path-switching/v3 main@22 30"));
  EXPECT_THAT(show(desired({10, 10}, "", "branch.share = [0.25, 0.05]")),  // to the nearest step
              ElementsAre("main @0 7,10,19", "path-switching/v1 main@7 10",
                          "path-switching/v2 main@19 20"));
}

TEST(Desired, AShareOfAllForksWhereTheVersionBegins) {
  const auto all = desired({10, 20, 5}, "", "branch.share = 1.0");
  EXPECT_THAT(show(all),
              ElementsAre("main @0 10,30", "path-switching/v1 @0 10",
                          "path-switching/v2 main@10 30", "path-switching/v3 main@30 35"));
  EXPECT_THAT(all.path("path-switching/v1").options.list("data-path"), ElementsAre("/c/d1"));
  EXPECT_THAT(all.path("path-switching/v1").options.text("seed"), "1234");
  // Nothing is to be forked from the main path behind the extension: branches bring their data.
  EXPECT_THAT(all.path("path-switching/v3").options.list("data-path"), ElementsAre("/c/d3"));
  EXPECT_THAT(all.path("main").stages.size(), 1U);
  EXPECT_EQ(last_planned(all), 30 + 10 + 20 + 5);
  EXPECT_THAT(names(desired({10}, "", "branch.share = 1")), ElementsAre("path-switching/v1"));
  EXPECT_THAT(names(desired({10}, "arms = 'averaged-trunk'",
                            "branch.share = 1\n[arm.averaged-trunk]\nevery = 5")),
              ElementsAre("main"));
}

TEST(Desired, PlannedStepsAreThoseOfTheFormulas) {
  std::mt19937 random(5);
  const auto draw = [&](int64_t least, int64_t most) {
    return std::uniform_int_distribution<int64_t>(least, most)(random);
  };
  const std::string tables = "[arm.averaged-trunk]\nevery = 1\n[arm.soup]\nseeds = [1, 2, 3]\n";
  for (int i = 0; i < 40; ++i) {
    const int64_t N = draw(1, 7), T = draw(10, 500), aT = draw(2, T - 1);
    const std::string share =
        fmt::format("branch.share = {}\n", static_cast<double>(aT) / static_cast<double>(T));
    SCOPED_TRACE(fmt::format("N {} T {} aT {}", N, T, aT));
    const std::vector<int64_t> steps(static_cast<size_t>(N), T);
    const auto planned = [&](const std::string& arm) {
      return last_planned(desired(steps, "arms = '" + arm + "'", share + tables));
    };
    EXPECT_EQ(planned("path-switching"), N * T + N * aT - aT);  // T((1 + a) N - a)
    EXPECT_EQ(planned("ptfs"), T * N * (N + 1) / 2);
    EXPECT_EQ(planned("cpt"), N * T);
    EXPECT_EQ(planned("wsd-s"), N * T);
    EXPECT_EQ(planned("averaged-trunk"), N * T);
    EXPECT_EQ(planned("soup"), N * T - aT + 3 * N * aT);
    EXPECT_EQ(steps_from_scratch(campaign_of(steps, "", share), steps.size() - 1),
              T * N * (N + 1) / 2);
  }
}

TEST(Desired, ThePapersFourVersions) {
  const std::vector<int64_t> steps(4, 10);
  const auto planned = [&](const std::string& arm) {
    return last_planned(desired(steps, "arms = '" + arm + "'", "branch.share = 0.6"));
  };
  EXPECT_EQ(planned("path-switching"), 58);
  EXPECT_EQ(planned("ptfs"), 100);
  EXPECT_EQ(planned("cpt"), 40);
}

TEST(Desired, FromScratchOverAllDataShuffledTogether) {
  std::string text =
      "folder = 'runs'\narms = 'ptfs'\nbranch.share = 0.5\n"
      "[train]\npreset = 'gpt2-tiny'\nlr = 1e-3\nglobal-batch-size = 4\n[arm.ptfs]\nlr = 2e-3\n";
  for (const auto& [name, steps, data] :
       {std::tuple{"v1", 10, "'a'"}, {"v2", 20, "[3, 'b', 1, './a']"}, {"v3", 8, "'x/../b'"}})
    text +=
        fmt::format("[[version]]\nname = '{}'\nsteps = {}\ndata-path = {}\n", name, steps, data);
  const auto all = desired_of(parse_campaign(text, "/c/c.toml"));
  EXPECT_THAT(show(all), ElementsAre("ptfs/v1 @0 10", "ptfs/v2 @0 30", "ptfs/v3 @0 38"));
  const auto data = [&](const std::string& name) {
    return all.path(name).options.list("data-path");
  };
  EXPECT_THAT(data("ptfs/v1"), ElementsAre("/c/a"));
  EXPECT_THAT(data("ptfs/v2"), ElementsAre("15", "/c/a", "15", "/c/b"));
  EXPECT_THAT(data("ptfs/v3"), ElementsAre("15", "/c/a", "23", "/c/b"));
  const auto& options = all.path("ptfs/v3").options;
  EXPECT_EQ(options.text("lr"), "0.002");
  EXPECT_EQ(options.text("lr-decay-style"), "cosine");
  EXPECT_EQ(options.integer("lr-decay-iters"), 38);
}

TEST(Desired, FromTheLastVersionsEnd) {
  const auto all = desired({10, 20}, "arms = ['cpt', 'wsd-s']",
                           "train.lr-warmup-iters = 2\nbranch.share = 0.5\nbranch.min-lr = 1e-5\n"
                           "[arm.cpt]\nlr-decay-style = 'linear'");
  EXPECT_THAT(show(all),
              ElementsAre("cpt/v1 @0 10", "cpt/v2 cpt/v1@10 30", "wsd-s/v1-stable @0 5",
                          "wsd-s/v1 wsd-s/v1-stable@5 10", "wsd-s/v2-stable wsd-s/v1@10 20",
                          "wsd-s/v2 wsd-s/v2-stable@20 30"));
  const auto& cpt = all.path("cpt/v2").options;
  EXPECT_THAT(cpt.list("data-path"), ElementsAre("/c/d2"));
  EXPECT_EQ(cpt.integer("lr-warmup-iters"), 2);
  EXPECT_EQ(cpt.integer("lr-decay-iters"), 20);
  EXPECT_EQ(cpt.text("lr-decay-style"), "linear");
  EXPECT_EQ(cpt.text("min-lr"), "1e-05");
  const auto& stable = all.path("wsd-s/v2-stable").options;
  EXPECT_EQ(stable.text("lr-decay-style"), "constant");
  EXPECT_EQ(stable.text("lr"), "0.001");
  EXPECT_THAT(stable.list("data-path"), ElementsAre("/c/d2"));
  EXPECT_FALSE(all.path("wsd-s/v2").options.has("data-path"));
  EXPECT_EQ(all.path("wsd-s/v2").options.integer("lr-decay-iters"), 10);
  // A decay over all of a version begins where the last one ends.
  EXPECT_THAT(show(desired({10, 20}, "arms = 'wsd-s'", "branch.share = 1")),
              ElementsAre("wsd-s/v1 @0 10", "wsd-s/v2 wsd-s/v1@10 30"));
}

TEST(Desired, MeansOfTheMainPathAndOfBranches) {
  const auto all = desired({10, 20}, "arms = ['averaged-trunk', 'soup']",
                           "branch.share = 0.6\n[arm.averaged-trunk]\nevery = 2\n"
                           "[arm.soup]\nseeds = [7, 8]");
  EXPECT_THAT(show(all), ElementsAre("main @0 4,10,18,30", "soup/v1-seed-7 main@4 10",
                                     "soup/v1-seed-8 main@4 10", "soup/v2-seed-7 main@18 30",
                                     "soup/v2-seed-8 main@18 30"));
  EXPECT_EQ(all.path("soup/v1-seed-8").options.text("seed"), "8");
  ASSERT_EQ(all.averages.size(), 4U);
  const auto steps = [&](size_t i) {
    std::vector<int64_t> of;
    for (const auto& [path, step] : all.averages[i].members) of.push_back(step);
    return of;
  };
  EXPECT_THAT(steps(0), ElementsAre(6, 8, 10));
  EXPECT_THAT(steps(1), ElementsAre(20, 22, 24, 26, 28, 30));
  EXPECT_EQ(all.averages[0].weights_of, "1-sqrt");
  EXPECT_THAT(all.averages[3].members,
              ElementsAre(std::pair{"soup/v2-seed-7", 30}, std::pair{"soup/v2-seed-8", 30}));
  EXPECT_EQ(all.averages[3].weights_of, "uniform");
}

TEST(Desired, SeedsHaveFoldersButForTheFirst) {
  const auto all =
      desired({10, 10}, "arms = ['path-switching', 'cpt']\nseeds = [5, 7]", "branch.share = 0.5");
  EXPECT_THAT(names(all),
              ElementsAre("main", "path-switching/v1", "path-switching/v2", "cpt/v1", "cpt/v2",
                          "seed-7/main", "seed-7/path-switching/v1", "seed-7/path-switching/v2",
                          "seed-7/cpt/v1", "seed-7/cpt/v2"));
  EXPECT_EQ(all.path("seed-7/cpt/v1").options.text("seed"), "7");
  EXPECT_EQ(all.path("seed-7/path-switching/v2").parent, "seed-7/main");
  EXPECT_EQ(all.path("main").options.text("seed"), "5");
}

TEST(Desired, ScoresOfVersionsAndOfTheMainPath) {
  const auto all = desired({10, 10}, "",
                           "branch.share = 0.5\n[main]\nscore = true\n"
                           "average = 'x=ema:beta=0.9,every=2'\n[held-out]\nweb = 'w'");
  std::vector<std::string> scores;
  for (const auto& score : all.scores)
    scores.push_back(fmt::format("{} {}@{} {}", score.name, score.of, score.step, score.weights));
  EXPECT_THAT(scores,  // the main path does not reach the last version's end
              UnorderedElementsAre("path-switching/v1/web path-switching/v1@10 model",
                                   "path-switching/v2/web path-switching/v2@20 model",
                                   "main/v1/web main@10 model", "main-x/v1/web main@10 average/x"));
}

// Whatever is asked for: parents stand first, fork at steps where these stop, and data go on at
// steps where the main path stops.
TEST(Desired, PathsFitTogether) {
  std::mt19937 random(3);
  const auto draw = [&](int64_t least, int64_t most) {
    return std::uniform_int_distribution<int64_t>(least, most)(random);
  };
  for (int i = 0; i < 30; ++i) {
    std::vector<int64_t> steps(static_cast<size_t>(draw(1, 6)));
    for (auto& each : steps) each = 10 * draw(1, 9);
    const std::string share = i % 3 == 0 ? "1.0" : fmt::format("0.{}", draw(1, 9));
    const auto all =
        desired(steps,
                "arms = ['path-switching', 'ptfs', 'cpt', 'wsd-s', 'averaged-trunk']"
                "\nseeds = [1, 2]",
                "branch.share = " + share + "\n[arm.averaged-trunk]\nevery = 5\nwindow = 10");
    std::set<std::string> seen;
    for (const auto& path : all.paths) {
      SCOPED_TRACE(show(path));
      EXPECT_TRUE(seen.insert(path.name).second);
      EXPECT_GT(*path.stops.begin(), path.fork_step);
      if (!path.parent.empty()) {
        EXPECT_TRUE(seen.contains(path.parent));
        EXPECT_TRUE(all.path(path.parent).stops.contains(path.fork_step));
      }
      for (const auto& stage : path.stages) {
        EXPECT_TRUE(path.stops.contains(stage.at_step));
        EXPECT_LT(stage.at_step, path.end());
      }
    }
    for (const auto& v : all.versions)
      EXPECT_EQ(v.step,
                std::accumulate(steps.begin(), steps.begin() + 1 + ssize_t(v.version), int64_t{0}));
  }
}

}  // namespace
}  // namespace switchyard
