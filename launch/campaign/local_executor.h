#pragma once

#include <memory>

#include "launch/campaign/executor.h"

namespace switchyard {

struct LocalResources {
  std::filesystem::path logs;       // the folder of logs, which is made
  int64_t jobs = 1;                 // side by side, at most
  int64_t ranks = 1;                // of all jobs that run, together
  std::vector<std::string> gpus{};  // indices or UUIDs, dealt to jobs, a rank each; empty: CPU
  std::string launcher = "auto";    // what starts several ranks: "auto", "mpirun" or "launch"
};

// Jobs as processes of this machine: one rank by itself; several by launch/mpirun (beside this
// program: switchyard-mpirun of an installation, launch/mpirun of a source tree, or else mpirun of
// the PATH) or, where there are GPUs, by `switchyard launch`. A job of GPUs sees its own alone
// (CUDA_VISIBLE_DEVICES). stop() asks as USR1 does. When this process dies, jobs save and end.
std::unique_ptr<Executor> make_local_executor(const LocalResources& resources);

}  // namespace switchyard
