#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "launch/path/retention.h"

// What may go of a path that no trainer holds: `switchyard prune`.
namespace switchyard {

struct PruneRequest {
  RetentionOptions keep;
  bool discarded = false;  // RUN/discarded/ goes, too
  std::chrono::milliseconds lock_patience{};
};

struct PrunedStep {
  StepFate fate;
  int64_t bytes = 0;  // on the disk now
  int64_t frees = 0;
};
// What is not a saved step: below discarded/, or left of a save that did not end.
struct PrunedFolder {
  std::string name;  // within the run
  int64_t bytes = 0;
  bool goes = false;
};
struct PruneReport {
  std::vector<PrunedStep> steps;
  std::vector<PrunedFolder> others;
  int64_t frees() const;
};

// Looks, and changes nothing. Throws Error where folders cannot be read.
PruneReport survey(const RunFolder& run, const PruneRequest& request);
// Does what survey() says now and returns it, holding the path's lock: throws Error where a trainer
// holds it.
PruneReport prune(const RunFolder& run, const PruneRequest& request);

}  // namespace switchyard
