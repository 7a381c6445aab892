#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "parallel/comm/communicator.h"
#include "parallel/comm/control_plane.h"

namespace switchyard {

// A world of one rank: every operation is the identity.
std::unique_ptr<Communicator> make_self_communicator();

// Ranks that are threads of this process; buffers may lie on its GPU 0. Runs body(world) on `ranks`
// threads and joins them; the first Error of any rank ends the others' waits and is thrown again
// here.
struct ThreadRanksOptions {
  std::chrono::milliseconds timeout{60'000};
  // Test mode: operations finish only on wait, receive buffers are filled with NaN until then and
  // send buffers are read as late as at the wait, so that a missing wait shows.
  bool delay_and_poison = false;
  uint64_t seed = 0;  // of the random delays in that mode
};
void run_thread_ranks(int ranks, const ThreadRanksOptions& options,
                      const std::function<void(Communicator& world)>& body);

// MPI for the life of this object (MPI_THREAD_MULTIPLE). One per process.
class MpiEnvironment {
 public:
  MpiEnvironment(int* argc, char*** argv, std::chrono::milliseconds timeout);
  ~MpiEnvironment();
  MpiEnvironment(const MpiEnvironment&) = delete;
  MpiEnvironment& operator=(const MpiEnvironment&) = delete;
  Communicator& world();
  // Whether this process was started by mpirun or srun as one of several ranks.
  static bool launched();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Ranks on the CPU without MPI: TCP connections between all of them, for the life of this object.
class TcpEnvironment {
 public:
  struct Options {
    std::chrono::milliseconds timeout{60'000};
    std::string host{};  // by which ranks know the machine of rank 0; empty: rank 0 says one
    std::string interface_name{};  // others are told its address; empty: of the route to rank 0
    // Long messages of processes that may read each other's memory go that way.
    bool through_memory = true;
  };
  // Collective. Returns when every rank is connected to every other; throws Error at the timeout.
  // The ranks, which find each other through `control`, are its.
  TcpEnvironment(const Options& options, ControlPlane& control);
  ~TcpEnvironment();  // waits for the others' ends
  TcpEnvironment(const TcpEnvironment&) = delete;
  TcpEnvironment& operator=(const TcpEnvironment&) = delete;
  Communicator& world();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// NCCL on the selected GPU, for the life of this object; one per process. Groups that it splits off
// move buffers of the GPU and, staged, of host memory; a barrier is the host's alone.
class NcclEnvironment {
 public:
  struct Options {
    std::chrono::milliseconds timeout{60'000};
    bool deterministic = true;  // sums in one order: NCCL's rings, without NVLink SHARP
    int ranks_per_gpu = 1;      // more: for tests of layouts
  };
  // Collective. Returns when all ranks have come and NCCL has allocated what it needs; throws Error
  // at the timeout. An operation that later fails or exceeds the timeout ends the job.
  // The ranks, which find each other through `control`, are its.
  NcclEnvironment(const Options& options, const std::shared_ptr<ControlPlane>& control);
  ~NcclEnvironment();
  NcclEnvironment(const NcclEnvironment&) = delete;
  NcclEnvironment& operator=(const NcclEnvironment&) = delete;
  Communicator& world();

 private:
  struct State;
  std::unique_ptr<State> state_;
};
std::string make_nccl_id();  // by which ranks find each other; works without a GPU
std::string mpi_version();   // "Open MPI v4.1.4"; MPI need not run
int nccl_version();          // 22809 for 2.28.9; 0 in a build without CUDA

// Ends this rank and every other one of the job with this exit code, at once: through MPI where it
// runs; else the launcher ends the others when this process has ended.
[[noreturn]] void end_job(int code);

}  // namespace switchyard
