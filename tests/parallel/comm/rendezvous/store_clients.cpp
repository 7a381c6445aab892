#include "tests/parallel/comm/rendezvous/store_clients.h"

#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "parallel/comm/control_plane.h"
#include "parallel/comm/rendezvous/store.h"
#include "parallel/comm/rendezvous/tcp_socket.h"
#include "tests/parallel/comm/rank_processes.h"

namespace switchyard {

namespace {

using Clock = std::chrono::steady_clock;

// The time since the last call.
class Laps {
 public:
  double lap() {
    const auto before = std::exchange(last_, Clock::now());
    return std::chrono::duration<double>(last_ - before).count();
  }

 private:
  Clock::time_point last_ = Clock::now();
};

StoreTimes be_rank(int port, const Store::Options& options) {
  StoreTimes times;
  Laps laps;
  auto control = make_control_plane(make_tcp_store("127.0.0.1", port, options));
  times.join = laps.lap();
  constexpr int barriers = 5;
  for (int i = 0; i < barriers; ++i) control->barrier("meeting");
  times.barrier = laps.lap() / barriers;
  const auto all = control->gather(std::string(64, 'x'), "texts");
  const size_t expected = options.rank == 0 ? static_cast<size_t>(options.size) : 0;
  check(all.size() == expected, "test", "{} texts came, not {}", all.size(), expected);
  times.gather = laps.lap();
  control.reset();
  times.leave = laps.lap();
  return times;
}

}  // namespace

StoreTimes run_store_clients(int ranks, std::chrono::milliseconds timeout) {
  allow_many_descriptors();
  const int port = free_port();
  StoreTimes times;
  std::exception_ptr problem;
  std::mutex mutex;
  const auto run = [&](int rank) {
    try {
      const auto mine = be_rank(port, {.rank = rank, .size = ranks, .timeout = timeout});
      if (rank == 0) times = mine;
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!problem) problem = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> threads;
    threads.reserve(static_cast<size_t>(ranks));
    for (int rank = 0; rank < ranks; ++rank) threads.emplace_back(run, rank);
  }
  if (problem) std::rethrow_exception(problem);
  return times;
}

}  // namespace switchyard
