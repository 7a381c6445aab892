// A campaign's jobs as a queue takes them, ahead of time and in any order that it allows.
#include <fmt/core.h>
#include <gmock/gmock.h>

#include "launch/campaign/desired_paths.h"
#include "launch/campaign/planned_jobs.h"
#include "launch/campaign/submit_campaign.h"
#include "tests/launch/campaign/fake_disk.h"

namespace switchyard {
namespace {

using namespace test;
using testing::ElementsAre;
using testing::IsEmpty;

Campaign campaign_of(int versions, const std::string& top, const std::string& tables = "") {
  std::string text = "folder = 'runs'\ntrain.preset = 'gpt2-tiny'\ntrain.lr = 1e-3\n" + top +
                     "\ntrain.global-batch-size = 4\nheld-out.web = 'w'\n" + tables + "\n";
  for (int i = 1; i <= versions; ++i)
    text += fmt::format("[[version]]\nname = 'v{0}'\nsteps = {1}\ndata-path = 'd{0}'\n", i, 4 * i);
  return parse_campaign(text, "/c/c.toml");
}

std::vector<std::string> keys_of(const CampaignJobs& plan) {
  std::vector<std::string> keys;
  for (const auto& job : plan.jobs) {
    std::string text = job.key;
    for (const size_t earlier : job.after) text += " < " + plan.jobs[earlier].key;
    for (const auto& each : job.before) text += " before: " + describe(each);
    for (const auto& each : job.behind) text += " behind: " + describe(each);
    keys.push_back(std::move(text));
  }
  return keys;
}

constexpr PlannerOptions side_by_side{.side_by_side = true};

TEST(PlannedJobs, WaitForWhatTheyNeed) {
  const auto desired = desired_of(campaign_of(2, "branch.share = 0.5"));
  const auto plan = plan_jobs(desired, {}, side_by_side, {});
  EXPECT_THAT(plan.now, IsEmpty());
  EXPECT_THAT(keys_of(plan), ElementsAre("main@2 behind: fork path-switching/v1 at step 2",
                                         "main@4 < main@2 behind: extend main at step 4",
                                         "main@8 < main@4 behind: fork path-switching/v2 at step 8",
                                         "path-switching/v1@4 < main@2",
                                         "score/path-switching/v1/web < path-switching/v1@4",
                                         "path-switching/v2@12 < main@8",
                                         "score/path-switching/v2/web < path-switching/v2@12"));
}

// What is in the queue stays as it is; what its script does not do is done by the next one.
TEST(PlannedJobs, GoOnBehindThoseInTheQueue) {
  const auto desired = desired_of(campaign_of(2, "branch.share = 0.5"));
  Found found;
  found.paths["main"] = {.busy = true, .step = 1, .saved = {1}};
  const auto plan = plan_jobs(desired, found, side_by_side, {"main@2"});
  ASSERT_EQ(plan.jobs.size(), 7U);
  EXPECT_TRUE(plan.jobs[0].is_queued);
  EXPECT_EQ(keys_of(plan)[3],
            "path-switching/v1@4 < main@2 before: fork path-switching/v1 at step 2");
  EXPECT_THAT(plan_jobs(desired, found, side_by_side, {}).jobs, IsEmpty()) << "busy by another";
  found.paths["main"] = {.step = 2, .saved = {2}};
  const auto later = plan_jobs(desired, found, side_by_side, {});
  ASSERT_EQ(later.now.size(), 1U);
  EXPECT_EQ(describe(later.now[0]), "fork path-switching/v1 at step 2");
}

// Carries a plan out on a disk that knows what must not be, in some order.
void carry_out(const CampaignJobs& plan, FakeDisk& disk, size_t most) {
  for (const auto& action : plan.now) disk.begin(action);
  std::set<size_t> left;
  for (size_t i = 0; i < plan.jobs.size(); ++i) left.insert(i);
  for (size_t done = 0; done < most && !left.empty(); ++done) {
    std::vector<size_t> can;
    for (const size_t i : left) {
      if (std::ranges::none_of(plan.jobs[i].after, [&](size_t e) { return left.contains(e); }))
        can.push_back(i);
    }
    const size_t next = can.at(static_cast<size_t>(disk.draw(0, std::ssize(can) - 1)));
    const PlannedJob& job = plan.jobs[next];
    for (const auto& each : job.before) disk.begin(each);
    disk.begin(job.action);
    while (!disk.jobs().empty()) disk.advance(*disk.jobs().begin());
    for (const auto& each : job.behind) disk.begin(each);
    left.erase(next);
  }
}

TEST(PlannedJobs, AnyOrderThatTheyAllowEndsTheCampaign) {
  std::mt19937 random(5);
  const auto draw = [&](int64_t least, int64_t most) {
    return std::uniform_int_distribution<int64_t>(least, most)(random);
  };
  const std::vector<std::string> arms = {"path-switching", "ptfs", "cpt",
                                         "wsd-s",          "soup", "averaged-trunk"};
  for (int i = 0; i < 300; ++i) {
    const auto few = static_cast<size_t>(draw(1, 6)), first = static_cast<size_t>(draw(0, 5));
    std::string named;
    for (size_t k = 0; k < few; ++k) named += "'" + arms[(first + k) % arms.size()] + "',";
    const auto campaign =
        campaign_of(static_cast<int>(draw(1, 4)),
                    fmt::format("arms = [{}]\n{}branch.share = 0.5", named,
                                i % 4 == 0 ? "seeds = [1, 2]\n" : ""),
                    "[main]\nscore = true\n[arm.averaged-trunk]\nevery = 2\nwindow = 4\n"
                    "[arm.soup]\nseeds = [1, 2]");
    const auto desired = desired_of(campaign);
    const bool deletes = i % 2 == 1;
    SCOPED_TRACE(fmt::format("{}: {} deletes {}", i, named, deletes));
    FakeDisk disk(desired, 2, deletes, random);
    const PlannerOptions options{.deletes_steps = deletes, .side_by_side = true};
    for (int round = 0; round < 3; ++round) {  // submitted anew behind some of the jobs
      const auto plan = plan_jobs(desired, disk.found(), options, {});
      carry_out(plan, disk, round == 2 ? plan.jobs.size() : static_cast<size_t>(draw(0, 12)));
      ASSERT_FALSE(HasFailure());
    }
    EXPECT_TRUE(is_complete(desired, disk.found()));
    disk.expect_each_step_once();
    ASSERT_FALSE(HasFailure());
  }
}

TEST(JobGroups, AreArraysOverSeeds) {
  const auto campaign = campaign_of(1, "seeds = [1, 2, 3]\nbranch.share = 0.5");
  const auto desired = desired_of(campaign);
  const auto plan = plan_jobs(desired, {}, side_by_side, {});
  const auto groups = group_jobs(campaign, plan.jobs);
  ASSERT_EQ(groups.size(), 3U);
  EXPECT_EQ(groups[0].name, "main@2");
  EXPECT_EQ(groups[0].jobs.size(), 3U);
  EXPECT_EQ(groups[1].name, "path-switching/v1@4");
  EXPECT_THAT(groups[1].task_after, ElementsAre(0U));
  EXPECT_THAT(groups[1].after, IsEmpty());
  EXPECT_THAT(groups[2].task_after, ElementsAre(1U));
  // Each task waits for its own twin.
  for (size_t i = 0; i < 3; ++i)
    EXPECT_THAT(plan.jobs[groups[1].jobs[i]].after, ElementsAre(groups[0].jobs[i]));
}

}  // namespace
}  // namespace switchyard
