#include <cstdio>
#include <cstdlib>

#include "core/error.h"
#include "tests/parallel/comm/rendezvous/store_clients.h"

// store_times N...: seconds that N clients of one TCP store take to join, meet and leave. No test;
// docs/scaling.md has what it printed.
int main(int argc, char** argv) {
  try {
    std::printf("%8s %10s %10s %10s %10s\n", "clients", "join s", "barrier s", "gather s",
                "leave s");
    for (int i = 1; i < argc; ++i) {
      const int clients = std::atoi(argv[i]);
      const auto times = switchyard::run_store_clients(clients, std::chrono::minutes(5));
      std::printf("%8d %10.3f %10.4f %10.4f %10.3f\n", clients, times.join, times.barrier,
                  times.gather, times.leave);
      std::fflush(stdout);
    }
    return 0;
  } catch (const switchyard::Error& problem) {
    std::fprintf(stderr, "%s\n", problem.what());
    return 1;
  }
}
