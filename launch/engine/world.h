#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "core/error.h"
#include "parallel/comm/communicators.h"
#include "parallel/mesh.h"

namespace switchyard {

// Kernels of a GPU's streams start in the order in which the host queued them, so that a chunk's
// exchange queued before the next chunk's product is not kept waiting by it. It would keep the next
// forward waiting for all gathered weights, so it is for --tp-comm-overlap alone. The driver reads
// this when it starts: before anything asks for GPUs.
void order_launches();

// The ranks of this job. On the CPU they talk over MPI when started by mpirun or srun; a process
// started alone is a world of one. On GPUs each rank takes the one that its local rank selects, and
// they talk over NCCL, which finds the others through MPI, or without it through a store at the
// place that `switchyard launch`, torchrun or srun has told them of. Throws Error where ranks and
// GPUs do not fit.
class World {
 public:
  explicit World(std::chrono::milliseconds timeout, Device device = Device::cpu,
                 bool deterministic = true);
  Communicator& communicator() { return *communicator_; }

 private:
  void join(std::chrono::milliseconds timeout, Device device, bool deterministic);

  std::unique_ptr<MpiEnvironment> mpi_;
  std::unique_ptr<NcclEnvironment> nccl_;
  std::unique_ptr<Communicator> self_;
  Communicator* communicator_ = nullptr;
};

// An error that all ranks know of, with the code of the lowest rank that met it, which has printed
// it.
class AgreedError : public Error {
 public:
  using Error::Error;
};

// Runs `body` on every rank and agrees on the outcome, so that an error that only some ranks meet
// ends all of them at once, without a rank waiting for another. Collective.
void agree_on_errors(Communicator& world, const std::function<void()>& body);

// Starts a world, runs `body` in it, prints errors, and returns the exit code: the body's or an
// error's. An error that was not agreed on ends the other ranks, too.
int run_in_world(std::chrono::milliseconds timeout,
                 const std::function<ExitCode(Communicator& world)>& body,
                 Device device = Device::cpu, bool deterministic = true);

// Divides the world by tensor and pipeline parallel sizes; throws Error when it does not divide.
Layout layout_of(int world, int64_t tp, int64_t pp);

std::string broadcast_text(Communicator& world, const std::string& text);  // rank 0's

// Unless OMP_NUM_THREADS says otherwise, the cores are shared among the ranks of this machine.
void share_cores_among_local_ranks();

}  // namespace switchyard
