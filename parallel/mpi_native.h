#pragma once

#include <mpi.h>

#include <string>

#include "core/error.h"
#include "parallel/mpi_group.h"

namespace switchyard {

struct MpiGroup::Native {
  MPI_Comm comm = MPI_COMM_NULL;
};

inline void check_mpi(int code, const char* call) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = {};
  int length = 0;
  MPI_Error_string(code, text, &length);
  fail("mpi", "{} failed: {}", call, std::string(text, static_cast<size_t>(length)));
}

}  // namespace switchyard
