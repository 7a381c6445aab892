#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "launch/launcher/launch_plan.h"
#include "launch/launcher/launched_training.h"

namespace switchyard {

// Runs a subcommand on the nodes of a Slurm allocation, from its batch script: one step of srun's
// (or mpirun) at a time, and with --restarts another one behind a fault, on the nodes that are
// left. Returns the code to end with; with --requeue the job is queued again where going on makes
// sense.
int run_over_srun(const LaunchPlan& plan);

// The nodes to run on: as many of those that answer as the layout allows, the first ones.
std::vector<std::string> usable_nodes(const std::vector<std::string>& answering, int ranks_per_node,
                                      const LaunchedTraining& training);

// The command of a step on these nodes; `program`: this program's file.
std::vector<std::string> step_command(const LaunchPlan& plan, const std::vector<std::string>& words,
                                      const std::vector<std::string>& nodes,
                                      const std::string& program);

// Whether a job that ends with `code` goes on when it is queued again, and why, or why not.
struct RequeueDecision {
  bool requeue = false;
  std::string why;
};
struct JobRecord {
  int code = 0;
  bool cancelled = false;
  int requeued = 0;        // SLURM_RESTART_COUNT
  bool progressed = true;  // a later step was saved since it started; or nobody knows
};
RequeueDecision decide_requeue(const JobRecord& job);

}  // namespace switchyard
