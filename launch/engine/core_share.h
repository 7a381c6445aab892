#pragma once

#include <functional>
#include <string>

namespace switchyard {

struct CoresHere {
  int of_process = 1;  // that this process may run on
  int of_job = 1;      // of this machine, for all ranks that the job has here
};
CoresHere cores_here();

// How many threads a rank may use; 0: the environment says it to OpenMP itself. In this order count
// OMP_NUM_THREADS, SLURM_CPUS_PER_TASK, and the ranks of this machine: as mpirun, torchrun
// (`switchyard launch`) or Slurm tell them. mpirun and Slurm may have bound the process to cores of
// its own, which are not divided again. `variable` is the environment's, empty where unset.
int threads_of_rank(const std::function<std::string(const char*)>& variable,
                    const CoresHere& cores);

// Of a list such as "2(x3),1", for the node of this number; throws Error for text that is none.
int tasks_on_node(const std::string& list, int node);

// Sets the threads of this process to its share.
void share_cores_among_local_ranks();

}  // namespace switchyard
