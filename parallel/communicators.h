#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "parallel/communicator.h"

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
  // Ends every rank of the job with this exit code, at once.
  [[noreturn]] static void abort(int code);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace switchyard
