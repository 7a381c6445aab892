#pragma once

#include <string>
#include <vector>

#include "launch/path/options.h"

namespace switchyard {

// What `switchyard slurm` was asked for.
struct SlurmJob {
  std::string name;                // RUN, as given
  Settings given;                  // what stands before the --
  std::vector<std::string> words;  // subcommand and its arguments, with RUN among them
  bool takes_ranks = true;
  int64_t nodes = 1, tasks = 1;  // tasks of each node
};

std::vector<OptionSpec> slurm_options();
// Of the words behind `slurm`. Throws Error.
SlurmJob slurm_job(const Settings& given, const std::string& name,
                   const std::vector<std::string>& words);

// All that `train` would refuse when its ranks start, and a layout that does not fit the nodes:
// before the job waits in a queue. Throws Error. Returns lines to say.
std::vector<std::string> check_job(const SlurmJob& job);

}  // namespace switchyard
