#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "launch/path/average_members.h"
#include "launch/path/average_window.h"
#include "parallel/checkpoint/state_groups.h"

namespace switchyard {

struct AverageRequest {
  std::vector<AverageMember> members;  // the last one gives step, samples, path and moments
  std::string output;
  // The group that is averaged; of a window the running mean's, "average/NAME".
  std::string weights = std::string(groups::model);
  std::string weights_of = "uniform";         // average_weights.h
  int64_t memory_bytes = int64_t{256} << 20;  // of the tensors' parts that are at hand
  std::optional<AverageWindow> window{};      // then one member, whose step does not count
};

// The mean of the weights of saved steps, of one path (uniform: LAWA, arXiv 2306.03241) or of
// several whose tensors are alike (a soup), as a run folder of its own whose one checkpoint,
// without a loss, eval, generate and fork take. Tensor by tensor, summed in fp64 in the order
// given, the model's over their fp32 master copy where there is one, and stored in fp32. The same
// average again changes nothing; an error leaves nothing. Throws Error, for a folder that holds
// another average, too. `progress` hears of each tensor that is done.
using AverageProgress = std::function<void(int64_t done, int64_t all)>;
void average(const AverageRequest& request, const AverageProgress& progress = {});

}  // namespace switchyard
