#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/error.h"
#include "launch/path/run_folder.h"

namespace switchyard {

// What became of reading all of a saved step. `problem` is empty where every checksum holds and all
// that the checkpoint needs of others is there.
struct VerifiedStep {
  int64_t step = 0;
  std::string id{};
  int64_t files = 0, bytes = 0, tensors = 0;
  std::string problem{};
  bool is_newer = false;  // it is of a format that this program does not know: nothing was compared
  ExitCode code = ExitCode::reached;
};

struct VerifiedRun {
  std::vector<VerifiedStep> steps;    // ascending
  std::vector<std::string> problems;  // of the path: its own files, its parents, its branches' pins
  std::vector<std::string> newer;     // path.json, or what the path begins with, of such a format
  std::vector<std::string> notes;  // no fault: saves that did not end, parents that are not needed
  bool ok() const;
  ExitCode code() const;  // of the first damage; usage where all else is of a newer program
};

// Reads RUN, or one saved step of it, whole: each shard's bytes against their checksums, the
// master's mappings against the shards, members of averages, and (for a whole RUN) path.json, the
// fork points that it comes from and those that its pins promise. Throws Error only where there is
// no such run or step, or behind a signal.
VerifiedRun verify_run(const RunReference& reference);

}  // namespace switchyard
