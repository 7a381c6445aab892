#pragma once

#include <span>
#include <string>
#include <vector>

#include "launch/path/options.h"

namespace switchyard {

// What stands before the -- of `switchyard launch`, and the subcommand behind it.
struct LaunchPlan {
  int ranks = 0;  // of this node
  int ranks_per_gpu = 1;
  int nodes = 1;
  int node = 0;               // this one's number
  std::string master_addr{};  // where rank 0 runs
  int master_port = 0;        // 0: any free one, of one node
  int restarts = 0;
  std::vector<std::string> words{};        // subcommand and its arguments
  std::vector<std::string> repetitions{};  // of options before the --, as a line says them

  // --srun: the nodes of a Slurm allocation, from its batch script.
  bool over_srun = false;
  int min_nodes = 0;  // 0: all
  bool requeues = false;
  std::string mpi = "none";    // as of srun --mpi
  std::string srun_options{};  // more of srun's, as a shell reads them
};

// The options, for --help and documentation.
std::vector<OptionSpec> launch_options();

// Of the words behind `launch`. What srun says of nodes where it started one of these on each is
// used where no option says it. Throws Error.
LaunchPlan launch_plan(std::span<const std::string> arguments);

}  // namespace switchyard
