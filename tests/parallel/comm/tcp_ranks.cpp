#include "tests/parallel/comm/tcp_ranks.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "core/error.h"
#include "parallel/comm/control_plane.h"
#include "parallel/comm/rendezvous/store.h"
#include "tests/parallel/comm/rank_processes.h"

namespace switchyard {

void run_tcp_ranks(int ranks, std::chrono::milliseconds timeout,
                   const std::function<void(Communicator& world)>& body, bool through_memory) {
  const int port = free_port();
  const auto run = [&](int rank) {
    set_thread_label(fmt::format("rank {}", rank));
    try {
      const auto control = make_control_plane(
          make_tcp_store("127.0.0.1", port, {.rank = rank, .size = ranks, .timeout = timeout}));
      TcpEnvironment environment(
          {.timeout = timeout, .host = "127.0.0.1", .through_memory = through_memory}, *control);
      body(environment.world());
    } catch (const std::exception& problem) {
      ADD_FAILURE() << "rank " << rank << ": " << problem.what();
    }
  };
  std::vector<std::jthread> threads;
  threads.reserve(static_cast<size_t>(ranks));
  for (int rank = 0; rank < ranks; ++rank) threads.emplace_back(run, rank);
}

}  // namespace switchyard
