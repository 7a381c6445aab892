#include "launch/launcher/rank_environment.h"

#include <algorithm>
#include <cstdlib>
#include <string>

#include "launch/slurm/slurm_variables.h"

namespace switchyard {

namespace {

void set(const char* name, int value) { setenv(name, std::to_string(value).c_str(), 1); }

// The launcher's cores are for all its ranks; its place among srun's tasks is none of theirs.
void settle_slurm(const LaunchPlan& plan) {
  const int cores = slurm_number("SLURM_CPUS_PER_TASK", 0);
  if (cores > 0 && slurm_step()) set("SLURM_CPUS_PER_TASK", std::max(1, cores / plan.ranks));
  for (const char* name :
       {"SLURM_PROCID", "SLURM_LOCALID", "SLURM_STEP_NUM_TASKS", "SLURM_STEP_TASKS_PER_NODE",
        "SLURM_NTASKS", "SLURM_NPROCS", "SLURM_NTASKS_PER_NODE", "SLURM_TASKS_PER_NODE",
        "PMIX_RANK", "PMIX_NAMESPACE", "PMI_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK",
        "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"}) {
    unsetenv(name);
  }
}

}  // namespace

void set_rank_environment(const LaunchPlan& plan, int local_rank, int port) {
  settle_slurm(plan);
  set("RANK", plan.node * plan.ranks + local_rank);
  set("LOCAL_RANK", local_rank);
  set("WORLD_SIZE", plan.nodes * plan.ranks);
  set("LOCAL_WORLD_SIZE", plan.ranks);
  set("GROUP_RANK", plan.node);
  set("MASTER_PORT", port);
  set("SWITCHYARD_RANKS_PER_GPU", plan.ranks_per_gpu);
  setenv("MASTER_ADDR", plan.master_addr.c_str(), 1);
  setenv("SWITCHYARD_LAUNCHED", "1", 1);
}

}  // namespace switchyard
