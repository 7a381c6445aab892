#pragma once

#include "core/json.h"
#include "launch/report/step_log.h"
#include "optim/schedule.h"

namespace switchyard {

Json shown_number(double value);  // six digits; null where it is not finite

// Adds a path's series, as columns, to its object: "train" (step, loss), "mean" (step, loss,
// tokens, gflops, mfu: means over `window` steps), "rate", "speed", "validation", "spikes" (step,
// loss), "lost" (steps whose loss is not finite), "steps" (how many there are), "thinned" (whether
// some of them were left out). A series has up to four points a bucket beside all spikes.
void add_series(const StepLog& log, size_t buckets, Json& path);

// Adds "planned": the rates of the steps behind `step` up to `end`.
void add_planned_rates(const Schedule& schedule, int64_t step, int64_t end, Json& path);

}  // namespace switchyard
