#pragma once

#include "launch/path/run_folder.h"

// Saved steps that are about to be deleted (parallel/checkpoint/leaving.h) and those who need them.
// Who forks pins the step first and then looks for it; retention lets it leave first and then looks
// at the pins. So a branch whose fork was not refused has its fork point, whether hosts see each
// other's locks or not.
namespace switchyard {

// What a process that was killed left on its way out although it is pinned comes back.
void rescue_pinned(const RunFolder& run);
// The same of one step, for a branch that was made: its pin is older than the step's leaving.
void rescue_pinned(const RunFolder& run, int64_t step);

// The complete checkpoint of `step`, which is pinned by now; waits a few seconds where it, or its
// moments, are just leaving, as they come back for a pin. Throws Error where it is not there, or
// another one than `id` is.
CheckpointEntry pinned_checkpoint(const RunFolder& run, int64_t step, const std::string& id);

}  // namespace switchyard
