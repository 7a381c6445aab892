#pragma once

#include <chrono>
#include <memory>

#include "parallel/comm/mpi/progress.h"
#include "parallel/comm/operation.h"

namespace switchyard {

// A group over all ranks of MPI, which must be initialised. The engine must outlive it.
std::unique_ptr<Communicator> make_mpi_world(ProgressEngine& engine,
                                             std::chrono::milliseconds timeout);

}  // namespace switchyard
