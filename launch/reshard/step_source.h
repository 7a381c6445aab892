#pragma once

#include <map>
#include <memory>

#include "launch/path/average_document.h"
#include "launch/path/run_folder.h"
#include "parallel/checkpoint/checked_reads.h"

namespace switchyard {

// A checkpoint that is read once, its checksums compared on the way.
struct ReadOnce {
  explicit ReadOnce(const std::filesystem::path& folder) : reader(folder), reads(reader) {}
  CheckpointReader reader;
  CheckedReads reads;
};

// A saved step of a run, and where it lies: in the parent's folder where it is the fork point of a
// branch that has not saved it.
struct StepSource {
  RunFolder run;
  PathSpecification path;
  RunFolder holder;  // of the checkpoint
  CheckpointEntry entry;
  bool at_fork = false;  // in the parent's folder
  std::unique_ptr<ReadOnce> step;
  // By step, of the checkpoints whose weights its averages need.
  std::map<int64_t, std::unique_ptr<ReadOnce>> members;

  const CheckpointInfo& info() const { return step->reader.info(); }
  std::string name() const;  // RUN@STEP
  // Those that a training which goes on from the step takes up: a branch inherits none.
  SavedAverages averages() const;
};

// Throws Error where there is no such step.
StepSource find_step(const RunReference& reference);
void open_members(StepSource& source);

// Compares what has not been compared on the way, of what was read.
void verify_rest(const StepSource& source);
// Throws Error where the step has been deleted, lost its moments or been saved anew meanwhile.
void check_still_there(const StepSource& source, bool with_moments);

}  // namespace switchyard
