#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "launch/report/report.h"

namespace switchyard::test {

// A path of made-up steps, as a trainer leaves it.
struct SampleRun {
  std::string lineage = "";  // see forked_from
  int64_t first = 1, last = 0;
  int64_t decay_begin = 0, decay_iters = 0;  // 0: a constant rate
  int64_t goal = 0;                          // --train-iters of its start; 0: none
  std::vector<int64_t> spikes = {};
  int64_t eval_every = 0;  // 0: no validation; otherwise with one of an average "lawa"
  unsigned seed = 1;
};
void write_run(const std::filesystem::path& folder, const SampleRun& run);

// For SampleRun::lineage: forks at that step of the path in the folder beside it.
std::string forked_from(const std::string& parent, int64_t step);

// A campaign that is half done, below `folder`: four versions under path switching, pre-training
// from scratch and continual pre-training, with three seeds, some finished, one running, others
// waiting.
ReportInput half_done_campaign(const std::filesystem::path& folder);

}  // namespace switchyard::test
