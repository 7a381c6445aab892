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

// Whether Slurm has ended this job by itself, so that nothing is left of it but this script: by
// scancel. Slurm 22.05 says COMPLETING of it, not CANCELLED; of one that has met its time limit,
// too, with TimeLimit as the reason.
bool is_cancelled();

// The smallest number of cores that the job has on a node; 0: Slurm does not say it.
int cores_per_node();

}  // namespace switchyard
