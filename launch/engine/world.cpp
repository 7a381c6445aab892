#include "launch/engine/world.h"

#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <optional>

#include "core/fault_report.h"
#include "core/logging.h"
#include "core/text.h"
#include "launch/engine/meeting_limit.h"
#include "parallel/comm/rank_places.h"
#include "parallel/comm/rendezvous/job_environment.h"
#include "parallel/comm/rendezvous/job_identity.h"
#include "parallel/comm/rendezvous/network_interfaces.h"

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

// NCCL's own variable is more than a name and stays where it is set.
void choose_interface_of_nccl(const std::string& interface) {
  address_of_interface(interface);  // throws where there is none
  setenv("NCCL_SOCKET_IFNAME", ("=" + interface).c_str(), 0);
}

// What a rank does with signals of its own process. A lost reader or peer is met where it is
// written to; a process alone may be the head of a pipe that ends it.
void prepare_for_faults() {
  const auto rank = rank_among_several();
  if (!rank) return;
  std::signal(SIGPIPE, SIG_IGN);
  report_fatal_signals(fmt::format("world rank {} on {}", *rank, job_identity().host));
}

NcclEnvironment::Options nccl_options(const WorldOptions& options) {
  return {.timeout = options.timeout,
          .deterministic = options.deterministic,
          .ranks_per_gpu = ranks_per_gpu()};
}

void label_thread(const Communicator& world) {
  if (world.size() > 1) set_thread_label(fmt::format("rank {}", world.rank()));
}

}  // namespace

void order_launches() { setenv("CUDA_DEVICE_MAX_CONNECTIONS", "1", 0); }

World::World(const WorldOptions& options) {
  prepare_for_faults();
  check(is_available(options.device), "options", "--device {}; this build and machine have: cpu",
        name_of(options.device));
  std::optional<MeetingLimit> limit;
  if (!MpiEnvironment::launched() && rank_among_several()) limit.emplace();
  try {
    join(options);
    tell_places(options.device);
  } catch (const AgreedError&) {
    mpi_.reset();  // in order: every rank is here
    tcp_.reset();
    throw;
  } catch (const std::exception& problem) {
    if (!mpi_) throw;
    print_error(problem);
    announce_end(static_cast<int>(code_of(problem)), problem.what());
    end_job(static_cast<int>(code_of(problem)));
  }
  log::show_label(communicator_->rank() > 0);
}

void World::tell_places(Device device) {
  if (communicator_->size() == 1) return;
  const std::string where =
      device == Device::cpu ? "cpu" : fmt::format("GPU {}", describe_gpu().index);
  exchange_rank_places(communicator_->control(), {.host = job_identity().host,
                                                  .local_rank = local_rank_of_process(),
                                                  .process = getpid(),
                                                  .device = where});
  inquiries_ = std::make_unique<Inquiries>(communicator_->control());
}

void World::join(const WorldOptions& options) {
  const bool on_gpus = options.device == Device::cuda;
  if (on_gpus && !options.interface.empty()) choose_interface_of_nccl(options.interface);
  if (MpiEnvironment::launched()) {
    mpi_ = std::make_unique<MpiEnvironment>(nullptr, nullptr, options.timeout);
    return join_over_mpi(options);
  }
  const auto job = job_environment();
  if (on_gpus) select_own_gpu();
  if (!job || job->size == 1) {
    self_ = make_self_communicator();
    communicator_ = self_.get();
    return;
  }
  if (on_gpus) return join_over_nccl(*job, options);
  join_over_tcp(*job, options);
}

void World::join_over_mpi(const WorldOptions& options) {
  communicator_ = &mpi_->world();
  label_thread(*communicator_);
  ControlPlane& control = communicator_->control();
  if (options.when_met) options.when_met(control);
  if (options.device == Device::cpu) return;
  control.agree(select_own_gpu);
  nccl_ = std::make_unique<NcclEnvironment>(nccl_options(options), control.duplicate("nccl"));
  communicator_ = &nccl_->world();
}

void World::join_over_nccl(const JobEnvironment& job, const WorldOptions& options) {
  const std::shared_ptr<ControlPlane> control =
      make_control_plane(make_store(job, options.timeout));
  if (options.when_met) options.when_met(*control);
  nccl_ = std::make_unique<NcclEnvironment>(nccl_options(options), control);
  communicator_ = &nccl_->world();
  label_thread(*communicator_);
}

// The store is needed until they are connected.
void World::join_over_tcp(const JobEnvironment& job, const WorldOptions& options) {
  const auto control = make_control_plane(make_store(job, options.timeout));
  if (options.when_met) options.when_met(*control);
  tcp_ = std::make_unique<TcpEnvironment>(
      TcpEnvironment::Options{
          .timeout = options.timeout, .host = job.host, .interface_name = options.interface},
      *control);
  communicator_ = &tcp_->world();
  label_thread(*communicator_);
}

namespace {

// What only this rank has met ends the others, too.
int end_with(const std::exception& problem, const Communicator& world) {
  const ExitCode code = code_of(problem);
  print_error(problem);
  if (world.size() > 1) {
    announce_end(static_cast<int>(code), problem.what());
    end_job(static_cast<int>(code));
  }
  return static_cast<int>(code);
}

}  // namespace

int run_in_world(const WorldOptions& options,
                 const std::function<ExitCode(Communicator& world)>& body) {
  std::unique_ptr<World> world;
  try {
    world = std::make_unique<World>(options);
  } catch (const AgreedError& problem) {
    return static_cast<int>(problem.code());
  }
  try {
    return static_cast<int>(body(world->communicator()));
  } catch (const AgreedError& problem) {
    return static_cast<int>(problem.code());
  } catch (const std::exception& problem) {
    return end_with(problem, world->communicator());
  }
}

namespace {

// As near to as many ranks as were started as the layout allows.
std::string how_to_start(int64_t world, int64_t tp, int64_t pp) {
  constexpr int64_t most = 1 << 20;
  if (tp > most || pp > most) return "";
  const int64_t ranks = tp * pp * std::max<int64_t>(1, world / (tp * pp));
  return fmt::format(": switchyard launch -np {} -- ..., or launch/mpirun -np {} switchyard ...",
                     ranks, ranks);
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

}  // namespace switchyard
