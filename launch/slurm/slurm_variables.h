#pragma once

#include <optional>
#include <string>

namespace switchyard {

// What srun says to each task of a step.
struct SlurmStep {
  int tasks = 1;
  int nodes = 1;
  int node = 0;            // this one's number
  std::string first_host;  // of the step
  int port = 0;            // for rank 0 to listen on; of the step's number
};
// Nothing where srun did not start this process; a batch script is no step. Throws Error for
// numbers that are none.
std::optional<SlurmStep> slurm_step();

// The first of SLURM_NTASKS_PER_NODE and SLURM_TASKS_PER_NODE, "2(x3)"; 0: neither says it.
int slurm_tasks_per_node();

// The number of a variable; `otherwise` where there is none. Throws Error for other text.
int slurm_number(const char* variable, int otherwise);
std::string slurm_text(const char* variable);  // empty: not set

}  // namespace switchyard
