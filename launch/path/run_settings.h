#pragma once

#include <chrono>

#include "core/device.h"
#include "launch/engine/engine_options.h"
#include "launch/path/options.h"
#include "launch/path/specification.h"

// What the options of a start mean for ranks, devices and engines: shared by all that computes with
// a path's model or plans to (training, evaluation, generation, bench, plan).
namespace switchyard {

// --distributed-timeout-seconds or -minutes, or its default.
std::chrono::milliseconds distributed_timeout(const Settings& run);
// The device of --device; by default a GPU where there is one. Throws Error for one that is not
// there.
Device device_of(const Settings& run);
// What --tp-comm-overlap means for this process's environment, which the driver reads once: before
// a GPU is selected.
void prepare_driver(const Settings& run);
// What --allow-tf32 and --attention-backend mean for this process.
void apply_device_settings(const Settings& run);

// Options of an engine for a path, run with these settings; without training of a model alone.
// Checked by check_engine.
EngineOptions engine_options(const PathSpecification& path, const Settings& run, bool training);

}  // namespace switchyard
