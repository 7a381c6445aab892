#pragma once

#include <string>
#include <vector>

namespace switchyard {

// The nodes of the allocation that this batch script has, in Slurm's order. Throws Error outside of
// one and where scontrol does not say them.
std::vector<std::string> nodes_of_allocation();

// Those of them on which a step can run now, in the same order: their daemons answer within half a
// minute, and Slurm does not say that they are down.
std::vector<std::string> answering_nodes(const std::vector<std::string>& nodes);

// This job's number, as scontrol takes it: "17_3" of an array's task, whose SLURM_JOB_ID may be the
// array's own and means all its tasks then.
std::string job_of_allocation();

// Whether Slurm has ended a job by itself, so that nothing is left of it but this script: by
// scancel. Slurm 22.05 says COMPLETING of it, not CANCELLED; of one that has met its time limit,
// too, with TimeLimit as the reason.
bool is_cancelled(const std::string& job);

// The smallest number of cores that the job has on a node; 0: Slurm does not say it.
int cores_per_node();

}  // namespace switchyard
