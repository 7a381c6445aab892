#include "tests/emulated_cuda/nccl_comm.h"

#include <cuda_runtime_api.h>
#include <sched.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <tuple>
#include <utility>

// Communicators: how they are made, asked for their state, and end.
namespace sw = switchyard;
using sw::emulated::begin;
using sw::emulated::Occupied;
using sw::emulated::Rendezvous;

namespace {

std::atomic<const char*> last_warning = "";

ncclResult_t warn(ncclResult_t result, const char* text) {
  last_warning = text;
  return result;
}

// Goes on with what is in progress; the first look finds it so in any case.
ncclResult_t look(ncclComm& comm) {
  const std::lock_guard lock(comm.mutex);
  if (comm.error != ncclSuccess) return comm.error;
  if (comm.meeting && comm.meeting->rank_of_same_gpu() >= 0)
    return comm.error = warn(ncclInvalidUsage, "Duplicate GPU detected");
  if (comm.meeting && comm.meeting->lost_rank() >= 0)
    return comm.error = warn(ncclRemoteError, "a rank's process is gone");
  if (!comm.unfinished) return ncclSuccess;
  if (!comm.unfinished()) return ncclInProgress;
  comm.unfinished = nullptr;
  return ncclSuccess;
}

// Shared memory goes by a short name; the id's own text is random.
std::string name_of(const ncclUniqueId& id) { return {id.internal, strnlen(id.internal, 100)}; }

// Machines go by NCCL_HOSTID where it is set, devices by what the process is shown.
uint64_t gpu_of_thread() {
  std::string text;
  for (const char* name : {"NCCL_HOSTID", "CUDA_VISIBLE_DEVICES"}) {
    const char* value = std::getenv(name);
    text += std::string(value == nullptr ? "" : value) + "/";
  }
  int device = 0;
  cudaGetDevice(&device);
  return std::hash<std::string>()(text + std::to_string(device));
}

ncclComm* make_comm(const std::string& name, int size, int rank, bool blocking) {
  auto* comm = new ncclComm;
  comm->rank = rank;
  comm->size = size;
  comm->blocking = blocking;
  comm->meeting = std::make_shared<Rendezvous>(name, size, rank, gpu_of_thread());
  return comm;
}

// The user's variable outranks the program's configuration.
bool blocks(const ncclConfig_t* config, bool otherwise) {
  if (const char* text = std::getenv("NCCL_COMM_BLOCKING")) return std::atoi(text) != 0;
  if (config == nullptr || config->blocking == NCCL_CONFIG_UNDEF_INT) return otherwise;
  return config->blocking != 0;
}

using Wish = Rendezvous::Wish;

// The child of a split, once all wishes are known.
ncclComm* child_of(ncclComm* parent, uint64_t number, Wish mine, bool blocking) {
  if (mine.color < 0) return nullptr;
  int rank = 0, size = 0;
  for (int r = 0; r < parent->size; ++r) {
    const Wish& wish = parent->meeting->of(r).wishes[number % 2];
    if (wish.color != mine.color) continue;
    ++size;
    rank += std::tie(wish.key, r) < std::tie(mine.key, parent->rank);
  }
  const std::string name =
      parent->meeting->name() + "." + std::to_string(number) + "." + std::to_string(mine.color);
  return make_comm(name, size, rank, blocking);
}

}  // namespace

namespace switchyard::emulated {

Occupied::Occupied(ncclComm& comm, const char* call) : comm_(comm) {
  if (!comm.occupied.exchange(true)) return;
  std::fprintf(stderr, "emulated NCCL: %s while another thread calls on the communicator\n", call);
  std::abort();
}

ncclResult_t begin(ncclComm& comm, const std::function<bool()>& work) {
  {
    const std::lock_guard lock(comm.mutex);
    if (comm.error != ncclSuccess) return comm.error;
    if (comm.unfinished)
      return comm.error = warn(ncclInvalidArgument, "a call before the last one had ended");
    comm.joins = !comm.blocking;
    comm.unfinished = [work, looks = 0]() mutable { return ++looks > 1 && work(); };
  }
  if (!comm.blocking) return ncclInProgress;
  ncclResult_t state = ncclInProgress;
  while ((state = look(comm)) == ncclInProgress) sched_yield();
  return state;
}

}  // namespace switchyard::emulated

ncclResult_t ncclGetVersion(int* version) {
  *version = NCCL_VERSION_CODE;
  return ncclSuccess;
}

const char* ncclGetErrorString(ncclResult_t result) {
  switch (result) {
    case ncclSuccess:
      return "no error";
    case ncclInProgress:
      return "NCCL operation in progress";
    case ncclRemoteError:
      return "remote process exited or there was a network error";
    case ncclInvalidUsage:
      return "invalid usage";
    case ncclInvalidArgument:
      return "invalid argument";
    default:
      return "internal error";
  }
}

const char* ncclGetLastError(ncclComm_t) { return last_warning; }

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  std::memset(id, 0, sizeof *id);
  std::random_device random;
  const uint64_t number = (uint64_t{random()} << 32) | random();
  const std::string name = "/emulated-nccl-" + std::to_string(number);
  std::memcpy(id->internal, name.data(), name.size());
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* made, int size, ncclUniqueId id, int rank,
                                    ncclConfig_t* config) {
  if (rank < 0 || rank >= size) return ncclInvalidArgument;
  *made = make_comm(name_of(id), size, rank, blocks(config, true));
  return begin(**made, [meeting = (*made)->meeting] { return meeting->all_have_come(); });
}

ncclResult_t ncclCommInitRank(ncclComm_t* made, int size, ncclUniqueId id, int rank) {
  return ncclCommInitRankConfig(made, size, id, rank, nullptr);
}

ncclResult_t ncclCommSplit(ncclComm_t parent, int color, int key, ncclComm_t* made,
                           ncclConfig_t* config) {
  const Occupied occupied(*parent, "ncclCommSplit");
  const uint64_t number = parent->splits++;
  const Wish mine{.color = color, .key = key};
  const bool blocking = blocks(config, parent->blocking);
  *made = nullptr;
  Rendezvous::Rank& me = parent->meeting->of(parent->rank);
  me.wishes[number % 2] = mine;
  me.splits = number + 1;
  return begin(*parent, [=] {
    for (int r = 0; r < parent->size; ++r)
      if (parent->meeting->of(r).splits <= number) return false;
    if (*made == nullptr) *made = child_of(parent, number, mine, blocking);
    return *made == nullptr || (*made)->meeting->all_have_come();
  });
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* state) {
  const Occupied occupied(*comm, "ncclCommGetAsyncError");
  *state = look(*comm);
  if (*state == ncclSuccess && std::exchange(comm->joins, false))
    std::this_thread::sleep_for(std::chrono::microseconds(20));
  return ncclSuccess;
}

ncclResult_t ncclCommCount(const ncclComm_t comm, int* count) {
  *count = comm->size;
  return ncclSuccess;
}

ncclResult_t ncclCommUserRank(const ncclComm_t comm, int* rank) {
  *rank = comm->rank;
  return ncclSuccess;
}

ncclResult_t ncclCommFinalize(ncclComm_t comm) {
  const Occupied occupied(*comm, "ncclCommFinalize");
  return begin(*comm, [comm] {
    comm->meeting->of(comm->rank).closed = 1;
    return true;
  });
}

// Waits for the others, as on one machine, where each rank serves its peers until they leave: ranks
// that end their communicators in different orders wait for ever.
ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  comm->meeting->of(comm->rank).closed = 1;
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!comm->meeting->all_have_left()) {
    if (std::chrono::steady_clock::now() > limit) {
      std::fprintf(stderr, "emulated NCCL: rank %d of %d waits in ncclCommDestroy for another\n",
                   comm->rank, comm->size);
      std::abort();
    }
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
  delete comm;
  return ncclSuccess;
}

// What is still queued ends without effect; the handle is kept for it.
ncclResult_t ncclCommAbort(ncclComm_t comm) {
  comm->aborted = true;
  comm->meeting->of(comm->rank).aborted = 1;
  return ncclSuccess;
}
