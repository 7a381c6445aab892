#pragma once

#include <string>

namespace switchyard {

// Which job of a cluster this process is a part of, for logs, leases and messages.
struct JobIdentity {
  std::string host{};       // this machine's name
  std::string scheduler{};  // "slurm"; empty: started by hand
  std::string id{};         // SLURM_JOB_ID
  std::string array{};      // "1234_5" where the job is a task of an array; else empty
  std::string cluster{};    // SLURM_CLUSTER_NAME
  std::string nodes{};      // SLURM_JOB_NODELIST, in Slurm's short form
  int restarts = 0;         // SLURM_RESTART_COUNT: how often it was requeued
  std::string user{};       // whose process it is
  std::string launcher{};   // "mpirun", "srun", "switchyard launch", "torchrun"; empty: none
};
JobIdentity job_identity();

// "Slurm job 1234, restart 2, on n[1-3]"; "host n1" where no scheduler says more.
std::string describe(const JobIdentity& job);

}  // namespace switchyard
