#pragma once

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>
#include <string>

#include "launch/campaign/next_actions.h"

namespace switchyard::test {

// What a campaign's actions do to the disk, step by step and without training anything.
class FakeDisk {
 public:
  // A path is saved at multiples of the interval, at its goal and where it is told to stop.
  // deletes: of its steps the latest, fork points that are pinned and the multiples stay, as under
  // keep-checkpoints 1 and keep-every.
  FakeDisk(const Desired& desired, int64_t interval, bool deletes, std::mt19937& random)
      : desired_(desired), interval_(interval), deletes_(deletes), random_(random) {}

  const Found& found() const { return found_; }
  std::set<std::string> jobs() const;  // that run, by their keys
  // Forks, extends, or starts a job, of which the path is busy.
  void begin(const CampaignAction& action);
  void advance(const std::string& key);  // a job goes on to its next save, or to its end
  void kill(const std::string& key);     // what is not saved is lost
  void stop(const std::string& key);     // likewise, but a path is saved before
  int64_t draw(int64_t least, int64_t most) {
    return std::uniform_int_distribution<int64_t>(least, most)(random_);
  }
  // Each path has ended, and the steps that were saved were made once.
  void expect_each_step_once() const;

 private:
  void fork(const DesiredPath& path);
  void train(const CampaignAction& action);
  void save(const std::string& name, int64_t step);
  bool is_needed(const std::string& name, int64_t step) const;

  const Desired& desired_;
  int64_t interval_;
  bool deletes_;
  std::mt19937& random_;
  Found found_;
  std::map<std::string, CampaignAction> jobs_;
  std::map<std::string, std::vector<std::pair<int64_t, int64_t>>> saved_parts_;  // (from, to]
};

}  // namespace switchyard::test
