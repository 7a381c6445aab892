#include <cstdlib>
#include <cstring>
#include <exception>

#include "core/logging.h"
#include "parallel/comm/communicators.h"
#include "parallel/comm/nccl/api.h"
#include "parallel/comm/nccl/communicator.h"
#include "parallel/comm/nccl/watchdog.h"

namespace switchyard {

int nccl_version() {
  int version = 0;
  return ncclGetVersion(&version) == ncclSuccess ? version : 0;
}

struct NcclEnvironment::State {
  explicit State(int gpu) : watchdog(gpu) {}
  const int exceptions = std::uncaught_exceptions();
  NcclWatchdog watchdog;
  NcclProcess process;
  std::unique_ptr<Communicator> world;
};

namespace {

// NCCL reads its variables at its first call in a process. What the user has set stays.
void set_variables(const NcclEnvironment::Options& options, int rank) {
  const auto set = [](const char* name, const char* value) { setenv(name, value, 0); };
  if (options.deterministic) {
    set("NCCL_ALGO", "Ring");
    set("NCCL_NVLS_ENABLE", "0");
  }
  if (options.ranks_per_gpu == 1) return;
  // Ranks that share a GPU: NCCL refuses a second rank of a host on one device, so each rank is
  // made out to be a host of its own, and all talk through sockets.
  const std::string host = fmt::format("switchyard-rank-{}", rank);
  setenv("NCCL_HOSTID", host.c_str(), 1);
  set("NCCL_NET", "Socket");
  set("NCCL_SOCKET_IFNAME", "lo");
  set("NCCL_IB_DISABLE", "1");
  set("NCCL_MNNVL_ENABLE", "0");
  set("NCCL_NVLS_ENABLE", "0");
  set("NCCL_CUMEM_ENABLE", "0");
  set("NCCL_RAS_ENABLE", "0");
  set("NCCL_ALGO", "Ring");
  set("NCCL_PROTO", "Simple");
  set("NCCL_MAX_NCHANNELS", "2");
}

}  // namespace

std::string make_nccl_id() {
  ncclUniqueId id;
  check_nccl(ncclGetUniqueId(&id), "ncclGetUniqueId");
  return {id.internal, sizeof id.internal};
}

NcclEnvironment::NcclEnvironment(const Options& options,
                                 const std::shared_ptr<ControlPlane>& control) {
  set_variables(options, control->rank());
  const int rank = control->rank(), size = control->size();
  const std::string text =
      control->broadcast(rank == 0 ? make_nccl_id() : std::string(), "the id of nccl");
  ncclUniqueId id;
  check(text.size() == sizeof id.internal, "nccl", "rank 0's id has {} bytes; {} are needed",
        text.size(), sizeof id.internal);
  std::memcpy(id.internal, text.data(), text.size());
  const int gpu = describe_gpu().index;
  state_ = std::make_unique<State>(gpu);
  state_->process.gpu = gpu;
  state_->process.timeout = options.timeout;
  state_->process.watchdog = &state_->watchdog;
  ncclConfig_t config = nccl_config("world");
  ncclComm_t comm = nullptr;
  check_nccl(ncclCommInitRankConfig(&comm, size, id, rank, &config), "ncclCommInitRankConfig");
  const Member self{.rank = rank, .size = size, .world_rank = rank, .group = "world"};
  auto world = make_nccl_group(state_->process, self, comm);
  world->set_control(control);
  state_->world = std::move(world);
}

NcclEnvironment::~NcclEnvironment() {
  if (std::uncaught_exceptions() > state_->exceptions) {
    log::error("an exception ends this rank, and with it the job");
    end_job(1);
  }
  state_->world.reset();
}

Communicator& NcclEnvironment::world() { return *state_->world; }

}  // namespace switchyard
