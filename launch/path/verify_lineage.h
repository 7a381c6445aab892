#pragma once

#include <optional>
#include <string>

#include "launch/path/verify_run.h"

namespace switchyard {

// What a path begins with: the fork point in its parent, a mean's moments, or what a step that was
// not saved is made again from. Found and read whole. Where the path has no step of its own, what
// is missing or damaged is a problem; else a note, as training goes on without it.
void verify_origin(const RunFolder& run, const PathSpecification& path, VerifiedRun& all);

// What the run's pins promise to branches, and that each can be read.
void verify_pins(const RunFolder& run, VerifiedRun& all);

// Its id; nothing where it is not saved. Throws Error where it cannot be read.
std::optional<std::string> id_of(const RunFolder& run, int64_t step);

}  // namespace switchyard
