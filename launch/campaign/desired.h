#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "launch/campaign/campaign.h"

namespace switchyard {

// Data that a path goes over to behind a step.
struct DesiredStage {
  int64_t at_step = 0;
  std::vector<std::string> data;  // as --data-path takes it
  size_t version = 0;             // whose data they are
};

// A path that a campaign wants. Names are those of folders below the campaign's.
struct DesiredPath {
  std::string name;
  std::string parent{};   // empty: a random start, or
  std::string weights{};  // published weights, RUN or RUN@STEP, outside of the campaign's paths
  int64_t fork_step = 0;
  Settings options{};  // of its making: those of a new path, or what a fork changes; with data
  std::vector<DesiredStage> stages{};  // by which it is extended
  std::set<int64_t> stops{};  // the steps at which it is saved for others; the last is its end
  bool is_main = false;
  size_t version = 0;   // a branch's
  std::string table{};  // of the file, whose options over [train] it has: "arm.ptfs"
  int64_t end() const { return *stops.rbegin(); }
  int64_t steps() const { return end() - fork_step; }
};

// A mean of saved steps, as `average` makes it.
struct DesiredAverage {
  std::string name;
  std::vector<std::pair<std::string, int64_t>> members;  // paths and their steps
  std::string weights_of;
};

// A score: weights of a path's step, or of an average, on a held-out set.
struct DesiredScore {
  std::string name;  // of its file below results/, without .json
  std::string of;    // the path or the average
  int64_t step = 0;
  std::string weights = "model";  // the group of the checkpoint
  HeldOutSet set;
};

// What of a path an arm needs for a version.
struct PathPart {
  std::string path;
  int64_t until = 0;
};

struct DesiredVersion {
  size_t version = 0;
  std::string arm;
  int64_t seed = 0;
  std::string of;  // the path or average that is the version
  int64_t step = 0;
  std::vector<PathPart> parts;  // of all paths from the arm's first version to this one
  std::vector<std::string> scores;
};

struct Desired {
  std::vector<DesiredPath> paths;  // parents before their branches
  std::vector<DesiredAverage> averages;
  std::vector<DesiredScore> scores;
  std::vector<DesiredVersion> versions;

  const DesiredPath& path(const std::string& name) const;
  const DesiredPath* find_path(const std::string& name) const;
};

// The steps that a version needs, as planned: of its parts, each step once.
int64_t planned_steps(const Desired& desired, const DesiredVersion& version);
// What pre-training each version up to this one from scratch takes: sum over j <= i of S_j.
int64_t steps_from_scratch(const Campaign& campaign, size_t version);

}  // namespace switchyard
