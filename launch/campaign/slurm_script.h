#pragma once

#include <string>
#include <vector>

#include "launch/campaign/campaign.h"
#include "launch/campaign/executor.h"

namespace switchyard {

// What one Slurm job does: commands of one process before and behind that of its ranks.
struct SlurmTask {
  Job job;
  std::vector<std::vector<std::string>> before{}, behind{};  // arguments of the program
};

// A batch script for a task, or for tasks of equally many ranks as an array in their order. `name`:
// of the job; `comment` tells a campaign's jobs. Each task ends with the code of the command that
// failed; ranks are looked after by `switchyard launch --srun --requeue` (docs/slurm.md).
std::string slurm_script(const Campaign& campaign, const std::string& name,
                         const std::string& comment, const std::vector<SlurmTask>& tasks);

// The nodes that so many ranks take.
int64_t slurm_nodes(const SlurmResources& slurm, int64_t ranks);

}  // namespace switchyard
