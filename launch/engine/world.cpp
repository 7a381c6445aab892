#include "launch/engine/world.h"

#include <omp.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <thread>

#include "core/logging.h"
#include "core/text.h"
#include "parallel/comm/rendezvous/job_environment.h"

namespace switchyard {

namespace {

// A variable of the environment that counts ranks; 1 where it is absent or says nothing else.
int count_in(const char* text) {
  std::string_view rest = text == nullptr ? "" : text;
  return std::max(1, take_number<int>(rest).value_or(1));
}

// How many ranks may share a GPU, as `switchyard launch --ranks-per-gpu` says.
int ranks_per_gpu() { return count_in(std::getenv("SWITCHYARD_RANKS_PER_GPU")); }

// A process that was shown one GPU of its machine's, as by srun --gpus-per-task=1 or a script, was
// given that one. Were others given it, too, NCCL would say so.
void select_own_gpu() {
  const int local = local_rank_of_process(), share = ranks_per_gpu();
  if (share == 1 && gpu_count() == 1 && std::getenv("CUDA_VISIBLE_DEVICES") != nullptr)
    return select_gpu(0);
  check(local / share < gpu_count(), "launch",
        "local rank {} sees {} {}, which {} {} each may use; start fewer ranks on this machine",
        local, gpu_count(), gpu_count() == 1 ? "GPU" : "GPUs", share,
        share == 1 ? "rank" : "ranks");
  select_gpu(local / share);
}

NcclEnvironment::ShareText through(Communicator& world) {
  return [&world](const std::string& text) { return broadcast_text(world, text); };
}

NcclEnvironment::ShareText through(Store& store) {
  return [&store](const std::string& text) {
    const std::string key = "nccl id";
    if (store.options().rank == 0) store.set(key, text);
    return store.get(key);
  };
}

int print(const std::exception& problem) {
  std::fprintf(stderr, "switchyard: %s\n", problem.what());
  std::fflush(nullptr);
  return static_cast<int>(code_of(problem));
}

}  // namespace

void order_launches() { setenv("CUDA_DEVICE_MAX_CONNECTIONS", "1", 0); }

World::World(std::chrono::milliseconds timeout, Device device, bool deterministic) {
  check(is_available(device), "options", "--device {}; this build and machine have: cpu",
        name_of(device));
  try {
    join(timeout, device, deterministic);
  } catch (const std::exception& problem) {
    if (!mpi_) throw;
    end_job(print(problem));
  }
  if (communicator_->size() > 1) set_thread_label(fmt::format("rank {}", communicator_->rank()));
  log::show_label(communicator_->rank() > 0);
}

void World::join(std::chrono::milliseconds timeout, Device device, bool deterministic) {
  NcclEnvironment::Options options{
      .timeout = timeout, .deterministic = deterministic, .ranks_per_gpu = ranks_per_gpu()};
  if (MpiEnvironment::launched()) {
    mpi_ = std::make_unique<MpiEnvironment>(nullptr, nullptr, timeout);
    communicator_ = &mpi_->world();
    if (device == Device::cpu) return;
    select_own_gpu();
    options.rank = communicator_->rank();
    options.size = communicator_->size();
    nccl_ = std::make_unique<NcclEnvironment>(options, through(*communicator_));
    communicator_ = &nccl_->world();
    return;
  }
  const auto job = job_environment();
  if (device == Device::cuda) select_own_gpu();
  if (!job || job->size == 1) {
    self_ = make_self_communicator();
    communicator_ = self_.get();
    return;
  }
  check(device == Device::cuda, "launch",
        "{} ranks were started without MPI ({}); on the CPU ranks talk over it: start them with "
        "mpirun, or srun --mpi=pmix",
        job->size, job->source);
  options.rank = job->rank;
  options.size = job->size;
  const auto store = make_store(*job, timeout);
  nccl_ = std::make_unique<NcclEnvironment>(options, through(*store));
  communicator_ = &nccl_->world();
  store->barrier("nccl is up");
}

void agree_on_errors(Communicator& world, const std::function<void()>& body) {
  // The largest wins: the lowest failing rank reports size - rank and its code, others 0.
  constexpr int32_t codes = 256;
  int32_t mine = 0;
  std::string message;
  try {
    body();
  } catch (const AgreedError&) {
    throw;
  } catch (const std::exception& problem) {
    message = problem.what();
    mine = (world.size() - world.rank()) * codes + static_cast<int32_t>(code_of(problem));
  }
  int32_t worst = mine;
  Stream stream;
  world.all_reduce(std::span<int32_t>(&worst, 1), ReduceOp::max, stream, {"agreement on errors"})
      .wait(stream);
  if (worst == 0) return;
  if (worst == mine) std::fprintf(stderr, "switchyard: %s\n", message.c_str());
  throw AgreedError(message, static_cast<ExitCode>(worst % codes));
}

int run_in_world(std::chrono::milliseconds timeout,
                 const std::function<ExitCode(Communicator& world)>& body, Device device,
                 bool deterministic) {
  World world(timeout, device, deterministic);
  try {
    return static_cast<int>(body(world.communicator()));
  } catch (const AgreedError& problem) {
    return static_cast<int>(problem.code());
  } catch (const std::exception& problem) {
    const int code = print(problem);
    if (world.communicator().size() > 1) end_job(code);
    return code;
  }
}

namespace {

// As near to as many ranks as were started as the layout allows.
std::string how_to_start(int64_t world, int64_t tp, int64_t pp) {
  constexpr int64_t most = 1 << 20;
  if (tp > most || pp > most) return "";
  const int64_t ranks = tp * pp * std::max<int64_t>(1, world / (tp * pp));
  return fmt::format(
      ": launch/mpirun -np {} switchyard ..., or on GPUs switchyard launch -np {} -- ...", ranks,
      ranks);
}

}  // namespace

Layout layout_of(int world, int64_t tp, int64_t pp) {
  check(tp >= 1 && pp >= 1, "layout", "--tp {} --pp {}; at least 1 of each is allowed", tp, pp);
  const bool fits = tp <= world && pp <= world && world % (tp * pp) == 0;
  check(fits, "layout", "{} {} with --tp {} and --pp {}; a multiple of tp x pp ranks is allowed{}",
        world, world == 1 ? "rank" : "ranks", tp, pp, how_to_start(world, tp, pp));
  Layout layout;
  layout.tp = static_cast<int>(tp);
  layout.pp = static_cast<int>(pp);
  layout.dp = static_cast<int>(world / (tp * pp));
  return layout;
}

std::string broadcast_text(Communicator& world, const std::string& text) {
  Stream stream;
  auto length = static_cast<int64_t>(text.size());
  world.broadcast(std::span<int64_t>(&length, 1), 0, stream, {"length of a text"}).wait(stream);
  std::vector<uint8_t> bytes(text.begin(), text.end());
  bytes.resize(static_cast<size_t>(length));
  if (length > 0) {
    world.broadcast(std::span<uint8_t>(bytes), 0, stream, {"text"}).wait(stream);
  }
  return {bytes.begin(), bytes.end()};
}

void share_cores_among_local_ranks() {
  if (std::getenv("OMP_NUM_THREADS") != nullptr) return;
  const char* local = std::getenv("OMPI_COMM_WORLD_LOCAL_SIZE");
  if (local == nullptr) local = std::getenv("LOCAL_WORLD_SIZE");
  if (local == nullptr) local = std::getenv("SLURM_NTASKS_PER_NODE");
  omp_set_num_threads(std::max(1, omp_get_num_procs() / count_in(local)));
}

}  // namespace switchyard
