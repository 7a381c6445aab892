#pragma once

#include <filesystem>

#include "launch/campaign/campaign.h"
#include "launch/campaign/planned_jobs.h"
#include "launch/campaign/slurm_script.h"

namespace switchyard {

// Equal jobs of several seeds or members of a soup, as one array; most groups are of one job.
struct JobGroup {
  std::string name;
  std::vector<size_t> jobs;        // of the plan
  std::vector<size_t> after;       // groups, all of whose jobs must have succeeded
  std::vector<size_t> task_after;  // groups of equally many tasks, task for task
};
// In an order in which none is before what it needs. Jobs that are queued stand alone.
std::vector<JobGroup> group_jobs(const Campaign& campaign, const std::vector<PlannedJob>& jobs);

// What one job of the plan does.
SlurmTask task_of(const Campaign& campaign, const Desired& desired, const Found& found,
                  const PlannedJob& job);

// Queues everything that a campaign still needs, each job behind those it waits for, and returns;
// what is in the queue already stays there. Said again, it queues what has failed meanwhile or was
// added to the file. dry_run: prints the jobs and queues nothing. Throws Error where the file does
// not say kind = "slurm", a path is held by another process, or Slurm refuses.
void submit_campaign(const std::filesystem::path& file, bool dry_run);

}  // namespace switchyard
