#pragma once

#include <memory>

#include "launch/path/path_lock.h"
#include "parallel/comm/communicator.h"

namespace switchyard {

// The path of a start.
struct ObtainedPath {
  PathSpecification path;
  bool is_new = false;             // still to be written
  std::unique_ptr<PathLock> lock;  // on rank 0 where it is not new
};

// Rank 0 locks and reads the path, or makes a new one: where none is, and where the options given
// contradict one that has no step yet. Every rank gets the same. Collective; errors are agreed on.
ObtainedPath obtain_path(const RunFolder& run, const Settings& given, Communicator& world);

// Everything was checked: a new path is written, on rank 0.
void settle_new(const RunFolder& run, ObtainedPath& obtained);

}  // namespace switchyard
