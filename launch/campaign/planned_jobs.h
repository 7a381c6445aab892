#pragma once

#include <set>

#include "launch/campaign/next_actions.h"

namespace switchyard {

// A job of a campaign as a queue takes it ahead of time, before what it needs is there.
struct PlannedJob {
  std::string key;        // "main@400", "path-switching/v1@800", "score/path-switching/v1/web"
  CampaignAction action;  // train, average or score
  int64_t begins = 0;     // train: behind this step
  // Forks and extensions that the job makes itself: before its work those of its own path, behind
  // it those that wait for the step that it has reached.
  std::vector<CampaignAction> before{}, behind{};
  std::vector<size_t> after{};  // jobs of the plan that must have succeeded, earlier in the list
  bool is_queued = false;       // one of those that are in the queue already
};

// All jobs that lead from what is found to what is desired, each behind what it needs: a pure
// function. `now`: forks and extensions that are due at once. `queued`: keys of jobs in the queue,
// which stay what they are; their paths may be busy by them. A path that is busy by anything else
// is left out, with all that waits for it.
struct CampaignJobs {
  std::vector<CampaignAction> now;
  std::vector<PlannedJob> jobs;
};
CampaignJobs plan_jobs(const Desired& desired, Found found, const PlannerOptions& options,
                       const std::set<std::string>& queued);

std::string job_key(const CampaignAction& action);

}  // namespace switchyard
