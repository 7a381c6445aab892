#pragma once

#include <cstdint>

#include "launch/path/run_folder.h"

// Which saved steps of a path stay.
namespace switchyard {

// Whether no step was ever logged or saved and no branch pins one: nothing hangs on path.json.
bool is_untrained(const RunFolder& run);
// Deletes complete checkpoints but the `keep` latest, the pinned ones, and those whose weights
// averages in them need.
void retain_latest(const RunFolder& run, int64_t keep);
// Going on from `step`: what was saved behind it moves to discarded/, so that its steps can be
// saved again; throws Error when a fork point is among it.
void discard_behind(const RunFolder& run, int64_t step);

}  // namespace switchyard
