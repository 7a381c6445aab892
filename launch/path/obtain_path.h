#pragma once

#include <memory>

#include "launch/path/run_folder.h"
#include "parallel/comm/communicator.h"

namespace switchyard {

// Rank 0 locks and reads the path, or makes a new one; every rank gets the same. `is_new` says
// whether it is still to be written: where no path is, and where the options given contradict a
// path that has no step yet. Collective; errors are agreed on.
PathSpecification obtain_path(const RunFolder& run, const Settings& given, bool& is_new,
                              std::unique_ptr<PathLock>& lock, Communicator& world);

// Everything was checked: a new path is written.
void settle_new(const RunFolder& run, const PathSpecification& path,
                std::unique_ptr<PathLock>& lock);

}  // namespace switchyard
