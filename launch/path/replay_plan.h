#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "launch/path/run_folder.h"
#include "launch/path/step_records.h"

namespace switchyard {

// Steps of one path that are made again, up to `last`.
struct ReplaySegment {
  std::string run;  // its folder, for messages
  PathSpecification path;
  int64_t last = 0;
};

// A step as its path's files have it.
struct RecordedStep {
  StepRecord record;
  std::string conditions;  // conditions_of (starts.h) its start; empty: not known
};

// How a step that is not saved is reached: from a checkpoint before it, or the random start,
// through the paths of its lineage.
struct ReplayPlan {
  std::optional<RunFolder> origin_run;    // none: the random start
  CheckpointEntry origin;                 // its checkpoint; step 0 at the random start
  bool from_weights = false;              // it is of published weights, step 0 of the first segment
  std::vector<ReplaySegment> segments;    // one at least, by ascending steps
  std::map<int64_t, RecordedStep> steps;  // behind the origin, those that have a record

  int64_t begin() const { return from_weights ? 0 : origin.step; }
  int64_t end() const { return segments.back().last; }
  // The last of the steps behind the origin that all ran under these conditions: they have to come
  // out alike to the last bit. begin() where the first did not.
  int64_t last_exact(const std::string& conditions) const;
};

// To reach step `end` of the run from the newest checkpoint that is not behind `begin`: of the run,
// or of the paths that it was forked from where it has none itself, but for folders of `damaged`
// ones. Takes no lock. Throws Error where the lineage cannot be followed.
ReplayPlan plan_replay(const RunFolder& run, int64_t begin, int64_t end,
                       const std::set<std::filesystem::path>& damaged = {});
// Throws Error naming the first of the steps that has no record.
void check_recorded(const ReplayPlan& plan, int64_t first, int64_t last, const char* where);

// As RUN/replay.json of a branch whose fork point is to be made holds it, so that it does not
// depend on what becomes of the paths that it is made from: segments and steps. From the text the
// origin is missing. Throws Error (storage), naming the file, where its text is no plan, or is not
// as it was written; those of earlier versions have no checksum.
std::string to_json(const ReplayPlan& plan);
ReplayPlan replay_plan_from_json(const std::string& text, const std::string& file);

}  // namespace switchyard
