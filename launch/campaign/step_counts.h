#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "launch/campaign/desired.h"

namespace switchyard {

// Optimizer steps that were executed, as the paths' metrics count them.
struct StepCounts {
  int64_t counted = 0;   // lines of metrics.jsonl
  int64_t redone = 0;    // of metrics.discarded.jsonl: lost to a kill, or given up
  int64_t replayed = 0;  // made again on the way to a fork point that was not saved
};

// Counts what a campaign's versions took. Each path's files, which versions share, are read once.
class StepCounter {
 public:
  explicit StepCounter(const Campaign& campaign) : campaign_(campaign) {}
  // Of the paths behind a version, each up to where the version needs it. A path that is not there
  // has none. Throws Error where one cannot be read.
  StepCounts of(const DesiredVersion& version);

 private:
  struct PathSteps {
    std::vector<int64_t> made, discarded;  // ascending, of the former each once
    int64_t replayed = 0;
  };
  static PathSteps read(const std::filesystem::path& run);

  const Campaign& campaign_;
  std::map<std::string, PathSteps> paths_;
};

}  // namespace switchyard
