#include <cstdlib>
#include <exception>
#include <optional>
#include <thread>

#include "core/logging.h"
#include "core/text.h"
#include "parallel/comm/communicators.h"
#include "parallel/comm/inquiry.h"
#include "parallel/comm/mpi/call_limit.h"
#include "parallel/comm/mpi/communicator.h"
#include "parallel/comm/mpi/native.h"
#include "parallel/comm/mpi/shared_memory.h"
#include "parallel/comm/start_inquiry.h"

namespace switchyard {

struct MpiEnvironment::State {
  explicit State(std::chrono::milliseconds limit)
      : timeout(limit), world(make_mpi_world(engine, limit)) {}
  const std::chrono::milliseconds timeout;
  const int exceptions = std::uncaught_exceptions();
  ProgressEngine engine;
  std::unique_ptr<Communicator> world;
};

namespace {

int ranks_started(const char* variable) {
  const char* value = std::getenv(variable);
  std::string_view text = value == nullptr ? "" : value;
  return take_number<int>(text).value_or(0);
}

}  // namespace

MpiEnvironment::MpiEnvironment(int* argc, char*** argv, std::chrono::milliseconds timeout) {
  int initialized = 0;
  MPI_Initialized(&initialized);
  check(!initialized, "mpi", "a second MpiEnvironment was made; one per process is allowed");
  // Open MPI would spin while it starts and ends where slots are declared (hostfile, Slurm).
  setenv("OMPI_MCA_mpi_yield_when_idle", "1", 0);
  const StartInquiry others(start_places());
  const CallLimit limit("MPI_Init and the first exchange", timeout, CallLimit::Phase::start,
                        [&] { return others.absent_ranks(); });
  int provided = 0;
  check_mpi(MPI_Init_thread(argc, argv, MPI_THREAD_MULTIPLE, &provided), "MPI_Init_thread");
  check(provided == MPI_THREAD_MULTIPLE, "mpi",
        "this MPI gives thread level {}; MPI_THREAD_MULTIPLE is needed", provided);
  check_mpi(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  state_ = std::make_unique<State>(timeout);
}

MpiEnvironment::~MpiEnvironment() {
  if (std::uncaught_exceptions() > state_->exceptions) {
    log::error("an exception ends this rank, and with it the job");
    end_job(1);
  }
  if (!state_->engine.drain(state_->timeout)) {
    log::error("operations that nobody waited for have not ended after {} ms; ending the job",
               state_->timeout.count());
    end_job(static_cast<int>(ExitCode::timed_out));
  }
  const CallLimit limit("MPI_Finalize", state_->timeout, CallLimit::Phase::later);
  state_.reset();
  MPI_Finalize();
}

Communicator& MpiEnvironment::world() { return *state_->world; }

bool MpiEnvironment::launched() {
  if (std::getenv("OMPI_COMM_WORLD_SIZE") != nullptr)
    return ranks_started("OMPI_COMM_WORLD_SIZE") > 1;
  // srun --mpi=pmix; without pmix a rank of srun cannot join the others.
  return std::getenv("PMIX_RANK") != nullptr && ranks_started("SLURM_STEP_NUM_TASKS") != 1;
}

// "Open MPI v4.1.4, package: ..."
std::string mpi_version() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING] = {};
  int length = 0;
  MPI_Get_library_version(text, &length);
  const std::string whole(text, static_cast<size_t>(length));
  return whole.substr(0, whole.find_first_of(",\n"));
}

// mpirun ends the others when a rank ends without MPI_Finalize, as fast as MPI_Abort and without
// its banner; srun may not. MPI_Abort has been seen to block for a minute.
void end_job(int code) {
  announce_end(code, "");
  int initialized = 0, finalized = 0;
  MPI_Initialized(&initialized);
  MPI_Finalized(&finalized);
  if (initialized && !finalized) remove_names_of_shared_memory();
  const bool under_mpirun = std::getenv("OMPI_COMM_WORLD_SIZE") != nullptr;
  if (initialized && !finalized && !under_mpirun) {
    std::thread([code] {
      std::this_thread::sleep_for(std::chrono::seconds(3));
      std::_Exit(code);
    }).detach();
    MPI_Abort(MPI_COMM_WORLD, code);
  }
  std::_Exit(code);
}

}  // namespace switchyard
