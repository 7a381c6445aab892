#pragma once

#include "core/json.h"
#include "launch/report/step_log.h"
#include "optim/schedule.h"

namespace switchyard {

Json shown_number(double value);  // six digits; null where it is not finite

// How much of a series is shown.
struct Resolution {
  size_t buckets = 600;  // of up to four points each, beside all spikes
  size_t window = 1;     // steps that a mean is taken over; fewer on a path that has few
};

// Adds a path's series, as columns, to its object: "train" (step, loss), "mean" (window; step: the
// middle one; loss, tokens, gflops, mfu), "rate", "speed", "validation", "spikes" (step, loss),
// "lost" (steps whose loss is not finite), "steps" (how many there are), "thinned" (whether some of
// them were left out).
void add_series(const StepLog& log, const Resolution& resolution, Json& path);

// Adds "planned": the rates of the steps behind `step` up to `end`.
void add_planned_rates(const Schedule& schedule, int64_t step, int64_t end, Json& path);

}  // namespace switchyard
