#pragma once

#include <string>
#include <vector>

#include "launch/campaign/found.h"

namespace switchyard {

// How far a campaign is while `run` waits for its jobs: on a terminal one line on stderr, gone
// before anything else is said; elsewhere a log line for each percent of all steps.
class RunProgress {
 public:
  RunProgress();

  // running: the names of the jobs. What cannot be read just now is not shown.
  void show(const Campaign& campaign, const Desired& desired, Found found,
            const std::vector<std::string>& running);
  void clear();

 private:
  bool terminal_;
  bool drawn_ = false;
  int64_t percent_ = 0;  // as last logged
};

}  // namespace switchyard
