#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "parallel/checkpoint/state_groups.h"

namespace switchyard {

// "A:B:EVERY" as the steps A, A + EVERY, ... up to B; throws Error unless B is met exactly.
std::vector<int64_t> parse_steps(const std::string& text);

struct AverageRequest {
  std::string run;
  std::vector<int64_t> steps;
  std::string output;
  std::string weights = std::string(groups::model);  // the group that is averaged
};

// LAWA (arXiv 2306.03241): the uniform mean of the weights saved at these steps of a path, as a run
// folder of its own whose one checkpoint, without a loss, eval and generate take. Tensor by tensor,
// summed in fp64, the model's over their fp32 master copy where there is one, and stored in fp32.
// The same average again changes nothing; an error leaves nothing. Throws Error, for a folder that
// holds another average, too. `progress` hears of each tensor that is done.
using AverageProgress = std::function<void(int64_t done, int64_t all)>;
void average(const AverageRequest& request, const AverageProgress& progress = {});

}  // namespace switchyard
