#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "core/error.h"
#include "parallel/comm/communicators.h"
#include "parallel/comm/control_plane.h"

// Measures all-reduces over MPI, over sockets alone and over TCP as it is, in turn, in one run:
// start it with launch/mpirun
// (--mca btl tcp,self for MPI's TCP). No test; docs/benchmarks.md has what it printed.
namespace switchyard {

namespace {

using Clock = std::chrono::steady_clock;

// Microseconds of one all-reduce, the best of some rounds.
double time_all_reduce(Communicator& world, int64_t count, int repeats) {
  std::vector<float> values(static_cast<size_t>(count), 1.0f);
  Stream stream;
  double best = 0;
  for (int round = 0; round < 5; ++round) {
    world.barrier({"round"});
    const auto begin = Clock::now();
    for (int i = 0; i < repeats; ++i)
      world.all_reduce(std::span(values), ReduceOp::max, stream, {"rate"}).wait(stream);
    const double each =
        std::chrono::duration<double, std::micro>(Clock::now() - begin).count() / repeats;
    if (round == 0 || each < best) best = each;
  }
  return best;
}

void measure(Communicator& mpi, Communicator& tcp, Communicator& memory) {
  struct Case {
    int64_t bytes;
    int repeats;
  };
  if (mpi.rank() == 0)
    std::printf("%d ranks\n%12s %12s %12s %8s %12s %8s\n", mpi.size(), "bytes", "mpi us",
                "sockets us", "ratio", "tcp us", "ratio");
  for (const Case& c :
       {Case{4, 500}, Case{4096, 300}, Case{65'536, 100}, Case{1 << 20, 20}, Case{64 << 20, 2}}) {
    const auto count = static_cast<int64_t>(c.bytes / sizeof(float));
    const double over_mpi = time_all_reduce(mpi, count, c.repeats);
    const double over_tcp = time_all_reduce(tcp, count, c.repeats);
    const double through_memory = time_all_reduce(memory, count, c.repeats);
    if (mpi.rank() == 0)
      std::printf("%12ld %12.1f %12.1f %8.2f %12.1f %8.2f\n", static_cast<long>(c.bytes), over_mpi,
                  over_tcp, over_tcp / over_mpi, through_memory, through_memory / over_mpi);
  }
}

}  // namespace

}  // namespace switchyard

int main(int argc, char** argv) {
  using namespace switchyard;
  try {
    MpiEnvironment mpi(&argc, &argv, std::chrono::seconds(60));
    TcpEnvironment tcp({.timeout = std::chrono::seconds(60), .through_memory = false},
                       mpi.world().control());
    TcpEnvironment memory({.timeout = std::chrono::seconds(60)}, mpi.world().control());
    try {
      measure(mpi.world(), tcp.world(), memory.world());
    } catch (const Error& problem) {
      std::fprintf(stderr, "%s\n", problem.what());
      end_job(1);
    }
    return 0;
  } catch (const Error& problem) {
    std::fprintf(stderr, "%s\n", problem.what());
    end_job(1);
  }
}
