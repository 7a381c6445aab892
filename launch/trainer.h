#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "core/stop_signal.h"
#include "launch/engine/engine.h"
#include "launch/metrics.h"
#include "launch/path/options.h"
#include "launch/path/run_folder.h"
#include "launch/path/specification.h"
#include "parallel/comm/communicator.h"

namespace switchyard {

// Starts or continues the path in `folder` with the options given, until its last step or a signal.
// Collective over the world; every error is agreed on or ends the job. New paths are written only
// after everything that can be checked was checked.
ExitCode train(const std::string& folder, const Settings& given, Communicator& world);

void check_run_options(const Settings& run);  // throws Error
// --distributed-timeout-minutes, or its default. Throws Error for what is not allowed.
std::chrono::minutes distributed_timeout(const Settings& run);
// The device of --device; by default a GPU where there is one. Throws Error for one that is not
// there.
Device device_of(const Settings& run);
// What --allow-tf32 and --attention-backend mean for this process.
void apply_device_settings(const Settings& run);

// Options of an engine for a path, run with these settings. Checked by check_engine.
EngineOptions engine_options(const PathSpecification& path, const Settings& run, bool training);

}  // namespace switchyard
