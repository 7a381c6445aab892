#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "core/error.h"
#include "parallel/comm/communicators.h"
#include "parallel/comm/inquiry.h"
#include "parallel/mesh.h"

namespace switchyard {

struct JobEnvironment;

// Kernels of a GPU's streams start in the order in which the host queued them, so that a chunk's
// exchange queued before the next chunk's product is not kept waiting by it. It would keep the next
// forward waiting for all gathered weights, so it is for --tp-comm-overlap alone. The driver reads
// this when it starts: before anything asks for GPUs.
void order_launches();

struct WorldOptions {
  std::chrono::milliseconds timeout{};
  Device device = Device::cpu;
  bool deterministic = true;
  std::string interface {};  // of the network that ranks without MPI talk over; empty: they choose
  // Several ranks do this as soon as they can talk, before any is bound to a device.
  std::function<void(ControlPlane&)> when_met{};
};

// The ranks of this job. A process started alone is a world of one. Ranks that mpirun or srun has
// started with MPI find each other through it, others through a store at the place that `switchyard
// launch`, torchrun or srun has told them of. On the CPU they then talk over MPI or TCP. On GPUs
// each rank takes the one that its local rank selects, and they talk over NCCL; they agree (its
// control plane) through what they have found each other by. Throws Error where ranks and GPUs do
// not fit; under MPI all ranks agree on that, and another error of one ends the job.
class World {
 public:
  explicit World(const WorldOptions& options);
  Communicator& communicator() { return *communicator_; }

 private:
  void join(const WorldOptions& options);
  void tell_places(Device device);
  void join_over_mpi(const WorldOptions& options);
  void join_over_nccl(const JobEnvironment& job, const WorldOptions& options);
  void join_over_tcp(const JobEnvironment& job, const WorldOptions& options);

  std::unique_ptr<Inquiries> inquiries_;  // to the end: others may still wait
  std::unique_ptr<MpiEnvironment> mpi_;
  std::unique_ptr<NcclEnvironment> nccl_;
  std::unique_ptr<TcpEnvironment> tcp_;
  std::unique_ptr<Communicator> self_;
  Communicator* communicator_ = nullptr;
};

// Starts a world, runs `body` in it, prints errors, and returns the exit code: the body's or an
// error's. An error that was not agreed on ends the other ranks, too.
int run_in_world(const WorldOptions& options,
                 const std::function<ExitCode(Communicator& world)>& body);

// Divides the world by tensor and pipeline parallel sizes; throws Error when it does not divide.
Layout layout_of(int world, int64_t tp, int64_t pp);

}  // namespace switchyard
