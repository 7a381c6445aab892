#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <thread>
#include <vector>

#include "core/error.h"
#include "parallel/comm/communicators.h"

// Ranks of which one fails, in the way that the argument names; the others wait for it.
// test_failing_rank.sh checks how the job ends.
namespace switchyard {

namespace {

using namespace std::chrono_literals;

void run(Communicator& world, const char* how) {
  Stream stream;
  std::vector<float> values(4, 1.0f);
  world.all_reduce(std::span(values), ReduceOp::sum, stream, {"first"}).wait(stream);
  set_current_step(7);
  begin_work();
  if (world.rank() == 1) {
    if (std::strcmp(how, "throw") == 0) fail("test", "rank 1 fails");
    if (std::strcmp(how, "kill") == 0) std::raise(SIGKILL);
    if (std::strcmp(how, "abort") == 0) end_job(42);
    if (std::strcmp(how, "hang") == 0) std::this_thread::sleep_for(60s);
  }
  world.all_reduce(std::span(values), ReduceOp::sum, stream, {"losses"}).wait(stream);
}

// As a program should: the error is printed before the job is ended.
int run_under_mpi(int argc, char** argv) {
  const char* how = argv[1];
  const auto timeout = std::strcmp(how, "hang") == 0 ? 500ms : 60'000ms;
  MpiEnvironment environment(&argc, &argv, timeout);
  if (std::strcmp(how, "unwind") == 0 && environment.world().rank() == 1)
    fail("test", "passes the environment's destructor");
  try {
    run(environment.world(), how);
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    end_job(static_cast<int>(error.code()));
  }
  return 0;
}

}  // namespace

}  // namespace switchyard

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  try {
    return switchyard::run_under_mpi(argc, argv);
  } catch (const switchyard::Error&) {
    return 3;  // never reached: the environment's destructor has ended the job
  }
}
