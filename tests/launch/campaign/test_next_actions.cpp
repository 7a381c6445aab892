// What is to be done next, of what is wanted and what is there.
#include <gmock/gmock.h>

#include "launch/campaign/desired_paths.h"
#include "tests/launch/campaign/campaign_text.h"
#include "tests/launch/campaign/fake_disk.h"

namespace switchyard {
namespace {

using namespace test;
using testing::ElementsAre;
using testing::IsEmpty;

// Versions of 4, 8, 12 ... steps.
Campaign campaign_of(int versions, const std::string& top, const std::string& tables) {
  std::string text = "folder = 'runs'\ntrain.preset = 'gpt2-tiny'\ntrain.lr = 1e-3\n" + top +
                     "\ntrain.global-batch-size = 4\n" + tables + "\n";
  for (int i = 1; i <= versions; ++i)
    text += fmt::format("[[version]]\nname = 'v{0}'\nsteps = {1}\ndata-path = 'd{0}'\n", i, 4 * i);
  return parse_campaign(text, "/c/c.toml");
}

Desired desired_by(int versions, const std::string& top, const std::string& tables = "") {
  const auto campaign = campaign_of(versions, top, tables);
  return desired_of(campaign);
}

std::vector<std::string> next(const Desired& desired, const Found& found,
                              const PlannerOptions& options = {}) {
  std::vector<std::string> all;
  for (const auto& action : next_actions(desired, found, options)) all.push_back(describe(action));
  return all;
}

const std::string plain = "branch.share = 0.5\nheld-out.web = 'w'";

TEST(NextActions, GoFromStartToEnd) {
  const auto desired = desired_by(2, plain);  // main 2, 4, 8
  Found found;
  EXPECT_THAT(next(desired, found), ElementsAre("train main up to step 2"));
  found.paths["main"] = {.step = 1, .saved = {1}};
  EXPECT_THAT(next(desired, found), ElementsAre("train main up to step 2"));
  found.paths["main"] = {.step = 2, .saved = {1, 2}};
  EXPECT_THAT(next(desired, found), ElementsAre("fork path-switching/v1 at step 2"));
  found.paths["path-switching/v1"] = {.step = 2};
  const std::string main_on = "train main up to step 4",
                    v1 = "train path-switching/v1 up to step 4";
  EXPECT_THAT(next(desired, found), ElementsAre(v1, main_on));
  EXPECT_THAT(next(desired, found, {.side_by_side = true}), ElementsAre(main_on, v1));
  found.paths["path-switching/v1"] = {.step = 4, .saved = {4}};
  EXPECT_THAT(next(desired, found), ElementsAre("score path-switching/v1/web", main_on));
  found.scores = {"path-switching/v1/web"};
  found.paths["main"] = {.step = 4, .saved = {2, 4}};
  EXPECT_THAT(next(desired, found), ElementsAre("extend main at step 4"));
  found.paths["main"].stages = {4};
  EXPECT_THAT(next(desired, found), ElementsAre("train main up to step 8"));
  found.paths["main"] = {.step = 8, .saved = {8}, .stages = {4}};
  EXPECT_THAT(next(desired, found), ElementsAre("fork path-switching/v2 at step 8"));
  found.paths["path-switching/v2"] = {.step = 12, .saved = {12}};
  EXPECT_THAT(next(desired, found), ElementsAre("score path-switching/v2/web"));
  EXPECT_FALSE(is_complete(desired, found));
  found.scores.insert("path-switching/v2/web");
  EXPECT_THAT(next(desired, found), IsEmpty());
  EXPECT_TRUE(is_complete(desired, found));
}

TEST(NextActions, LeaveBusyPathsAlone) {
  const auto desired = desired_by(2, plain);
  Found found;
  found.paths["main"] = {.busy = true, .step = 4, .saved = {2, 4}};
  EXPECT_THAT(next(desired, found), ElementsAre("fork path-switching/v1 at step 2"));
  found.paths["path-switching/v1"] = {.busy = true, .step = 3, .saved = {3}};
  EXPECT_THAT(next(desired, found), IsEmpty());
  EXPECT_FALSE(is_complete(desired, found));
}

// A version added behind the end: the main path goes on from where it is.
TEST(NextActions, GoOnForAVersionThatIsAdded) {
  const auto two = desired_by(2, plain), three = desired_by(3, plain);
  Found found;
  found.paths["main"] = {.step = 8, .saved = {8}, .stages = {4}};
  for (const char* v : {"v1", "v2"}) {
    const std::string name = std::string("path-switching/") + v;
    found.paths[name] = {.step = two.path(name).end(), .saved = {two.path(name).end()}};
    found.scores.insert(name + "/web");
  }
  EXPECT_TRUE(is_complete(two, found));
  EXPECT_FALSE(is_complete(three, found));
  EXPECT_THAT(next(three, found), ElementsAre("train main up to step 12"));
  found.paths["main"] = {.step = 12, .saved = {12}, .stages = {4}};
  EXPECT_THAT(next(three, found), ElementsAre("extend main at step 12"));
}

TEST(NextActions, MeansAndScoresWaitForWhatTheyAreOf) {
  const auto desired = desired_by(1, "arms = 'averaged-trunk'\n" + plain,
                                  "[arm.averaged-trunk]\nevery = 1");  // of the steps 3 and 4
  Found found;
  found.paths["main"] = {.step = 4, .saved = {2, 4}};
  EXPECT_THAT(next(desired, found), IsEmpty());
  found.paths["main"].saved = {3, 4};
  EXPECT_THAT(next(desired, found), ElementsAre("average averaged-trunk/v1"));
  found.averages = {"averaged-trunk/v1"};
  EXPECT_THAT(next(desired, found), ElementsAre("score averaged-trunk/v1/web"));
}

// Where retention may take a step of the main path, its scores come before it goes on.
TEST(NextActions, ScoresComeBeforeTheirStepIsDeleted) {
  const auto desired = desired_by(2, plain, "[main]\nscore = true");
  Found found;
  found.paths["main"] = {.step = 4, .saved = {2, 4}, .stages = {4}};
  found.paths["path-switching/v1"] = {.step = 4, .saved = {4}};
  found.scores = {"path-switching/v1/web"};
  EXPECT_THAT(next(desired, found), ElementsAre("score main/v1/web", "train main up to step 8"));
  EXPECT_THAT(next(desired, found, {.deletes_steps = true}), ElementsAre("score main/v1/web"));
}

// Carries a campaign out in some order, a job now and then killed; false: it never ends.
bool carry_out(const Desired& desired, FakeDisk& disk, const PlannerOptions& options,
               int64_t most_jobs) {
  for (int rounds = 0; rounds < 20'000; ++rounds) {
    const auto jobs = disk.jobs();
    std::vector<CampaignAction> actions;
    for (const auto& action : next_actions(desired, disk.found(), options)) {
      const bool is_job =
          action.kind != CampaignAction::Kind::fork && action.kind != CampaignAction::Kind::extend;
      const bool has_room = std::ssize(jobs) < most_jobs;
      if (!jobs.contains(key_of(action)) && (!is_job || has_room)) actions.push_back(action);
    }
    if (actions.empty() && jobs.empty()) return is_complete(desired, disk.found());
    const bool begins = jobs.empty() || (!actions.empty() && disk.draw(0, 1) == 0);
    if (begins) {
      disk.begin(actions[static_cast<size_t>(disk.draw(0, std::ssize(actions) - 1))]);
    } else {
      const auto job = std::next(jobs.begin(), disk.draw(0, std::ssize(jobs) - 1));
      const int64_t fate = disk.draw(0, 9);
      if (fate == 0)
        disk.kill(*job);
      else if (fate == 1)
        disk.stop(*job);
      else
        disk.advance(*job);
    }
    if (testing::Test::HasFailure()) return false;
  }
  return false;
}

// In whatever order things are done, and wherever they are interrupted, all is made, once.
TEST(NextActions, LeadToTheEndInEveryOrder) {
  std::mt19937 random(11);
  const auto draw = [&](int64_t least, int64_t most) {
    return std::uniform_int_distribution<int64_t>(least, most)(random);
  };
  const std::vector<std::string> arms = {"path-switching", "ptfs", "cpt",
                                         "wsd-s",          "soup", "averaged-trunk"};
  const std::string tables =
      "[main]\nscore = true\n[arm.averaged-trunk]\nevery = 2\nwindow = 4\n"
      "[arm.soup]\nseeds = [1, 2]";
  for (int i = 0; i < 300; ++i) {
    const auto few = static_cast<size_t>(draw(1, 6)), first = static_cast<size_t>(draw(0, 5));
    std::string named;
    for (size_t k = 0; k < few; ++k) named += "'" + arms[(first + k) % arms.size()] + "',";
    const bool is_soup = named.find("soup") != std::string::npos;
    const bool averages = named.find("averaged-trunk") != std::string::npos;
    const std::string share = !is_soup && draw(0, 2) == 0 ? "1" : "0.5";
    const auto desired =
        desired_by(static_cast<int>(draw(1, 4)),
                   fmt::format("arms = [{}]\n{}branch.share = {}\nheld-out.web = 'w'", named,
                               i % 5 == 0 ? "seeds = [1, 2]\n" : "", share),
                   tables);
    const bool deletes = i % 2 == 1;
    SCOPED_TRACE(fmt::format("{}: {} share {} deletes {}", i, named, share, deletes));
    FakeDisk disk(desired, averages ? 2 : draw(1, 30), deletes, random);
    const PlannerOptions options{.deletes_steps = deletes, .side_by_side = i % 3 == 0};
    ASSERT_TRUE(carry_out(desired, disk, options, draw(1, 4)));
    disk.expect_each_step_once();
    ASSERT_FALSE(HasFailure());
  }
}

}  // namespace
}  // namespace switchyard
