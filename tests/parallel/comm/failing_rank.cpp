#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <initializer_list>
#include <thread>
#include <vector>

#include "core/error.h"
#include "core/fault_report.h"
#include "core/stop_signal.h"
#include "parallel/comm/communicators.h"
#include "parallel/comm/inquiry.h"
#include "parallel/comm/rank_places.h"

// Ranks of which one fails, in the way that the argument names; the others wait for it.
// test_failing_rank.sh checks how the job ends.
namespace switchyard {

namespace {

using namespace std::chrono_literals;

bool is_one_of(const char* how, std::initializer_list<const char*> ways) {
  return std::ranges::any_of(ways, [&](const char* way) { return std::strcmp(how, way) == 0; });
}

// Rank 0 waits for rank 2, which waits for rank 1: that one is to blame. Rank 0 is the first whose
// time is over.
void wait_in_a_row(Communicator& world) {
  Stream stream;
  std::vector<float> values(4);
  set_current_step(8);
  if (world.rank() == 1) std::this_thread::sleep_for(60s);
  if (world.rank() == 2) std::this_thread::sleep_for(500ms);
  if (world.rank() == 2) world.recv(std::span(values), 1, stream, {"from 1"}).wait(stream);
  if (world.rank() == 0) world.recv(std::span(values), 2, stream, {"from 2"}).wait(stream);
}

// As from a disk that does not answer: nobody writes to this pipe.
void read_what_never_comes() {
  const auto pipe = std::filesystem::path(std::getenv("FAULTS_OF")) / "pipe";
  const int file = ::open(pipe.c_str(), O_RDWR);
  char byte = 0;
  [[maybe_unused]] const auto got = ::read(file, &byte, 1);
}

void run(Communicator& world, const char* how) {
  Stream stream;
  std::vector<float> values(4, 1.0f);
  world.all_reduce(std::span(values), ReduceOp::sum, stream, {"first"}).wait(stream);
  set_current_step(7);
  begin_work();
  if (is_one_of(how, {"row"})) return wait_in_a_row(world);
  if (world.rank() == 1) {
    if (is_one_of(how, {"stop", "stop-and-term"})) std::raise(SIGSTOP);
    if (std::strcmp(how, "throw") == 0) fail("test", "rank 1 fails");
    if (std::strcmp(how, "kill") == 0) std::raise(SIGKILL);
    if (std::strcmp(how, "abort") == 0) end_job(42);
    if (std::strcmp(how, "hang") == 0) std::this_thread::sleep_for(60s);
    if (std::strcmp(how, "disk") == 0) read_what_never_comes();
  }
  world.all_reduce(std::span(values), ReduceOp::sum, stream, {"losses"}).wait(stream);
}

// As a program should: the error is printed before the job is ended.
int run_under_mpi(int argc, char** argv) {
  const char* how = argv[1];
  const bool in_time = !is_one_of(how, {"hang", "disk", "row", "stop", "early"});
  const char* rank = std::getenv("OMPI_COMM_WORLD_RANK");
  if (is_one_of(how, {"early"}) && std::strcmp(rank, "1") == 0) {
    std::signal(SIGTERM, SIG_IGN);
    ::pause();  // it never comes
  }
  MpiEnvironment environment(&argc, &argv, in_time ? 60'000ms : 5000ms);
  exchange_rank_places(environment.world().control(),
                       {.host = "here", .local_rank = 0, .process = getpid(), .device = "cpu"});
  const Inquiries inquiries(environment.world().control());
  const StopSignal signals;
  set_fault_place({.run = std::getenv("FAULTS_OF"),
                   .start = "20261130T000000",
                   .rank = environment.world().rank(),
                   .who = "a rank"});
  if (is_one_of(how, {"stop-and-term"}) && environment.world().rank() == 0)
    std::thread([] {
      std::this_thread::sleep_for(500ms);
      std::raise(SIGTERM);
    }).detach();
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
