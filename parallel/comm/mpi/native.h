#pragma once

#include <mpi.h>

#include <string>

#include "core/error.h"
#include "parallel/comm/lost_peers.h"
#include "parallel/comm/mpi/group.h"

namespace switchyard {

struct MpiGroup::Native {
  MPI_Comm comm = MPI_COMM_NULL;
};

inline void check_mpi(int code, const char* call) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = {};
  int length = 0;
  MPI_Error_string(code, text, &length);
  const std::string why(text, static_cast<size_t>(length));
  fail(ExitCode::lost_peer, "mpi", "{} failed: {}{}", call, why, describe_missed_ranks());
}

}  // namespace switchyard
