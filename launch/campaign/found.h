#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "launch/campaign/desired.h"

namespace switchyard {

struct FoundPath {
  bool busy = false;           // a process of this machine holds its lock
  int64_t step = 0;            // of the latest complete checkpoint; before any, where it begins
  std::set<int64_t> saved{};   // steps with complete checkpoints
  std::set<int64_t> stages{};  // those of the desired stages that it has, by their steps
  std::vector<std::string> notes{};  // newer steps that cannot be read and do not count
};

// What is on the disk of what a campaign wants.
struct Found {
  std::map<std::string, FoundPath> paths;  // those that are there
  std::set<std::string> averages, scores;  // that are made
};

std::filesystem::path folder_of(const Campaign& campaign, const std::string& name);
std::filesystem::path score_file(const Campaign& campaign, const std::string& name);

}  // namespace switchyard
