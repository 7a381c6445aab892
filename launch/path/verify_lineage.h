#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launch/path/run_folder.h"

namespace switchyard {

struct LineageFindings {
  std::vector<std::string> problems, newer, notes;  // as in VerifiedRun
};

// What the path begins with: the fork point in its parent, a mean's moments, or what a step that
// was not saved is made again from. Found and read whole. Where the path has no step of its own,
// what is missing or damaged is a problem, and so is a pin of it that is gone, where the parent can
// be written; else a note, as training goes on without it. And that the run's pins can be read, and
// the steps are there that they promise to branches. Throws Error where the pins' folder cannot be
// looked into, or behind a signal.
LineageFindings verify_lineage(const RunFolder& run, const PathSpecification& path);

// Its id; nothing where it is not saved. Throws Error where it cannot be read.
std::optional<std::string> id_of(const RunFolder& run, int64_t step);

}  // namespace switchyard
