#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "core/error.h"
#include "core/memory.h"
#include "core/stop_signal.h"
#include "launch/engine/world.h"
#include "tools/commands.h"

// Ranks over NCCL of which one fails, in the way that the argument names; the others wait for it on
// the GPU. test_failing_nccl_rank.sh checks how the job ends.
namespace switchyard {

namespace {

using namespace std::chrono_literals;

void fail_as(const std::string& how) {
  if (how == "throw") fail("test", "rank 1 fails");
  if (how == "kill" || how == "orphan") std::raise(SIGKILL);
  if (how == "abort") end_job(42);
  if (how == "hang") std::this_thread::sleep_for(120s);
}

void run(Communicator& world, const std::string& how) {
  const auto dp = world.split(0, world.rank(), "dp");
  Stream stream(Device::cuda);
  const Memory memory(16, Device::cuda, "values");
  Buffer values(std::span<float>(static_cast<float*>(memory.data()), 4));
  values.device = Device::cuda;
  dp->all_reduce(values, ReduceOp::sum, stream, {"first"}).wait(stream);
  stream.synchronize();
  set_current_step(7);
  begin_work();
  if (world.rank() == 1) fail_as(how);
  dp->all_reduce(values, ReduceOp::sum, stream, {"losses"}).wait(stream);
  stream.synchronize();
}

}  // namespace

}  // namespace switchyard

int main(int argc, char** argv) {
  using namespace switchyard;
  const std::vector<std::string> words(argv + 1, argv + argc);
  try {
    if (words.size() > 1 && words[0] == "launch")
      return launch_command(Arguments(words).subspan(1));
    take_held_back_signals();
    if (words.size() != 1) return 2;
    const auto timeout = words[0] == "hang" ? 20'000ms : 60'000ms;
    return run_in_world({.timeout = timeout, .device = Device::cuda}, [&](Communicator& world) {
      run(world, words[0]);
      return ExitCode::reached;
    });
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return static_cast<int>(error.code());
  }
}
