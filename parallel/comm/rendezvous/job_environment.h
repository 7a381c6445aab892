#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "parallel/comm/rendezvous/store.h"

namespace switchyard {

// What a launcher without MPI has told this process about its place among the ranks of a job.
struct JobEnvironment {
  int rank = 0;
  int size = 1;
  std::string host;    // where rank 0 runs; with SWITCHYARD_STORE it need not be known
  int port = 0;        // on which it can listen
  std::string source;  // who said so, for messages
  std::string host_source = "MASTER_ADDR";  // the variable that has said the host
};

// From RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT (`switchyard launch`, torchrun),
// or from what srun sets, where MASTER_ADDR and MASTER_PORT count as well; nothing where this
// process was started alone or by mpirun. Throws Error for numbers that are none or do not fit each
// other.
std::optional<JobEnvironment> job_environment();

// This process's place among the ranks of its machine, whoever started it: 0 where nobody says.
int local_rank_of_process();

// Whether it is the first there; also where that says nothing sensible. Throws nothing.
bool leads_its_machine();

// This process's rank where a launcher, MPI's or another, started it as one of several. Throws
// nothing: what fits nowhere is met where ranks are wanted.
std::optional<int> rank_among_several();

// SWITCHYARD_STORE=FOLDER asks for the file store; else TCP at the job's host and port. Rank 0
// warns where that host is not this one: something may forward what comes there, or all wait in
// vain.
std::unique_ptr<Store> make_store(const JobEnvironment& job, std::chrono::milliseconds timeout);

}  // namespace switchyard
