#pragma once

#include <string>

#include "core/error.h"
#include "launch/path/options.h"
#include "parallel/comm/communicator.h"

namespace switchyard {

// Starts or continues the path in `folder` with the options given, until its last step or a signal.
// Collective over the world; every error is agreed on or ends the job. New paths are written only
// after everything that can be checked was checked.
ExitCode train(const std::string& folder, const Settings& given, Communicator& world);

}  // namespace switchyard
