// Two hosts and one campaign, on a disk where each keeps its flocks for itself.
#include <gtest/gtest.h>

#include <csignal>

#include "tests/tools/campaign_folder.h"
#include "tests/tools/hosts.h"
#include "tests/tools/paths.h"

namespace fs = std::filesystem;

namespace switchyard::test {
namespace {

constexpr const char* unheard_of = "echo Invalid job id specified >&2; exit 1";

class TwoHostsOneCampaign : public ::testing::Test {
 protected:
  std::vector<std::string> command(const std::string& word) const {
    return words("campaign " + word + " " + folder_.at("c.toml"));
  }
  size_t steps() const {
    const std::string run = folder_.at("c/main");
    return fs::exists(run + "/metrics.jsonl") ? metrics_of(run).size() : 0;
  }
  std::string squeue(const std::string& script) const {
    return make_squeue(folder_.at("c"), script);
  }
  void await_steps(Program& program, size_t count) {
    ASSERT_TRUE(wait_until([&] { return steps() > count; }, 60)) << program.errors_so_far();
  }
  // With its jobs, as they would go on for a while.
  static void kill_all(Program& program) {
    const auto victims = descendants(program.pid());
    for (const pid_t victim : victims) kill(victim, SIGKILL);
    program.wait();
  }

  CampaignFolder folder_;
  std::string file_ = folder_.write("c", 1, "", "", 40'000);
};

TEST_F(TwoHostsOneCampaign, a_second_run_is_refused_by_name) {
  Program first(command("run"), 1, on_host("n1", "SLURM_JOB_ID=45"));
  await_steps(first, 3);
  const std::string holder =
      "/c' is run by process " + std::to_string(first.pid()) + " on n1, Slurm job 45";
  Program second(command("run"), 1, on_host("n2", squeue("echo RUNNING 0")));
  ASSERT_TRUE(wait_until([&] { return !second.running(); }, 60)) << second.errors_so_far();
  const auto refused = second.wait();
  EXPECT_EQ(refused.exit_code, 2) << refused.err;
  EXPECT_NE(refused.err.find(holder), std::string::npos) << refused.err;
  kill(first.pid(), SIGUSR1);
  EXPECT_EQ(first.wait().exit_code, 75);
  EXPECT_FALSE(fs::exists(folder_.at("c/campaign.lease")));
}

TEST_F(TwoHostsOneCampaign, a_killed_one_is_followed_at_once_here_and_where_its_job_is_over) {
  const std::string gone = squeue(unheard_of);
  const std::string waited = "has not renewed its lease";
  for (const std::string host : {"n1", "n1", "n2"}) {
    Program program(command("run"), 1, on_host(host, "SLURM_JOB_ID=45 " + gone));
    await_steps(program, steps() + 5);
    EXPECT_EQ(program.errors_so_far().find(waited), std::string::npos) << program.errors_so_far();
    kill_all(program);
    EXPECT_TRUE(fs::exists(folder_.at("c/campaign.lease")));
  }
}

TEST_F(TwoHostsOneCampaign, one_that_lost_its_campaign_starts_nothing_more) {
  // Ends of versions are near, so that there is always a next job.
  folder_.write("c", 4, "", "", 40);
  Program first(command("run"), 1, on_host("n1"));
  await_steps(first, 3);
  take_over(folder_.at("c/campaign.lease"), "46");
  ASSERT_TRUE(wait_until([&] { return !first.running(); }, 60)) << first.errors_so_far();
  const auto outcome = first.wait();
  EXPECT_EQ(outcome.exit_code, 5) << outcome.err;
  EXPECT_NE(outcome.err.find("is not this job's any more: it was taken over by process"),
            std::string::npos)
      << outcome.err;
  EXPECT_NE(outcome.err.find("on n9, Slurm job 46"), std::string::npos) << outcome.err;
  EXPECT_FALSE(fs::exists(folder_.at("c/path-switching/v2")));
  EXPECT_TRUE(fs::exists(folder_.at("c/campaign.lease")));
}

}  // namespace
}  // namespace switchyard::test
