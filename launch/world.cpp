#include "launch/world.h"

#include <omp.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <thread>

#include "core/logging.h"

namespace switchyard {

World::World(std::chrono::milliseconds timeout, Device device) {
  check(is_available(device), "options", "--device {}; this build and machine have: cpu",
        name_of(device));
  if (MpiEnvironment::launched()) {
    mpi_ = std::make_unique<MpiEnvironment>(nullptr, nullptr, timeout);
    communicator_ = &mpi_->world();
  } else {
    self_ = make_self_communicator();
    communicator_ = self_.get();
  }
  if (communicator_->size() > 1) set_thread_label(fmt::format("rank {}", communicator_->rank()));
}

void agree_on_errors(Communicator& world, const std::function<void()>& body) {
  std::string message;
  try {
    body();
  } catch (const AgreedError&) {
    throw;
  } catch (const std::exception& problem) {
    message = problem.what();
  }
  // The largest wins: the lowest failing rank reports size - rank, ranks without error 0.
  int32_t worst = message.empty() ? 0 : world.size() - world.rank();
  Stream stream;
  world.all_reduce(std::span<int32_t>(&worst, 1), ReduceOp::max, stream, {"agreement on errors"})
      .wait(stream);
  if (worst == 0) return;
  if (worst == world.size() - world.rank())
    std::fprintf(stderr, "switchyard: %s\n", message.c_str());
  throw AgreedError(message);
}

int run_in_world(std::chrono::milliseconds timeout,
                 const std::function<void(Communicator& world)>& body, Device device) {
  World world(timeout, device);
  try {
    body(world.communicator());
    return 0;
  } catch (const AgreedError&) {
    return 1;
  } catch (const std::exception& problem) {
    std::fprintf(stderr, "switchyard: %s\n", problem.what());
    std::fflush(nullptr);
    if (world.communicator().size() > 1) MpiEnvironment::abort(1);
    return 1;
  }
}

Layout layout_of(int world, int64_t tp, int64_t pp) {
  check(tp >= 1 && pp >= 1, "layout", "--tp {} --pp {}; at least 1 of each is allowed", tp, pp);
  check(tp <= world && pp <= world && world % (tp * pp) == 0, "layout",
        "{} {} with --tp {} and --pp {}; a multiple of tp x pp ranks is allowed", world,
        world == 1 ? "rank" : "ranks", tp, pp);
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
  if (local == nullptr) local = std::getenv("SLURM_NTASKS_PER_NODE");
  const int ranks = local == nullptr ? 1 : std::max(1, std::atoi(local));
  omp_set_num_threads(std::max(1, omp_get_num_procs() / ranks));
}

}  // namespace switchyard
