#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "launch/path/relative_name.h"
#include "launch/path/run_folder.h"

namespace switchyard {

// A complete step that a load would refuse, and why.
struct UnreadableStep {
  int64_t step = 0;
  std::string problem;
};

// How far a path is, as its folder tells.
struct PathState {
  int64_t step = 0;            // the last one logged or saved; the fork or 0 before any
  std::optional<double> loss;  // of that step, where it is known
  bool trained = false;        // whether a step of its own is logged or saved
  bool running = false;        // a process holds its lock
  std::string holder;          // that process, as far as can be told (holder_of, path_lock.h)
  std::vector<int64_t> saved;  // complete checkpoints, ascending
  // Steps behind the newest that can be read, descending; they count nowhere. (Older ones are not
  // looked at.)
  std::vector<UnreadableStep> unreadable;
};
// Throws Error where files cannot be read. Takes no lock, so it never keeps a trainer from it.
PathState state_of(const RunFolder& run, const PathSpecification& path);
// The last step of metrics.jsonl.
std::optional<int64_t> last_logged_step(const RunFolder& run);
// One word: average, imported, new, running, finished (a decay's end is reached) or stopped.
std::string word_of(const PathState& state, const PathSpecification& path);
std::string describe(const UnreadableStep& step);

// What an average is the mean of, as its checkpoint says; no steps where it does not.
struct AverageSource {
  std::string run;  // of the last member: where it lies now; as it was given where it is not found
  std::vector<int64_t> steps;       // of that path
  std::vector<std::string> others;  // of other paths: RUN@STEP, as given
};
AverageSource source_of_average(const RunFolder& average, const CheckpointReader& checkpoint);
// The group that an average is the mean of; an average of the model's weights does not say it.
std::string weights_of_average(const CheckpointInfo& info);

// The first of the places that a name may mean which is there, or else the first.
std::filesystem::path place_of(const RelativeName& name, const std::filesystem::path& from);

}  // namespace switchyard
