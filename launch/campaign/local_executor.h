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
  std::filesystem::path program{};  // whose arguments jobs have; empty: the one that runs
};

// Jobs as processes of this machine: one rank by itself; several by launch/mpirun (beside this
// program: switchyard-mpirun of an installation, launch/mpirun of a source tree, or else mpirun of
// the PATH) or, where there are GPUs, by `switchyard launch`. A job of GPUs sees its own alone
// (CUDA_VISIBLE_DEVICES). stop() asks as USR1 does. When this process dies, jobs save and end: they
// are to be started by a thread that lives as long, the main one. Destroyed, it kills what runs.
//
// A rank has as many threads as OMP_NUM_THREADS says, else one under mpirun; the share of the cores
// that each of `ranks` has under `switchyard launch`; alone, that of each of `jobs`: bits depend on
// it, so it is the same whatever runs beside a job.
//
// Names of jobs may have folders. A result is written as FILE.tmp and renamed. What a signal ends
// has code 76 where that was KILL, 130 where it was asked to stop or end, else 1.
// Throws Error where `resources` contradict themselves.
std::unique_ptr<Executor> make_local_executor(const LocalResources& resources);

}  // namespace switchyard
