#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace switchyard {

// "A:B:EVERY" as the steps A, A + EVERY, ... up to B; throws Error unless B is met exactly.
std::vector<int64_t> parse_steps(const std::string& text);

// LAWA (arXiv 2306.03241): the uniform mean of the weights saved at these steps of a path, as a run
// folder of its own whose one checkpoint, without a loss, eval and generate take. Tensor by tensor,
// summed in fp64 over fp32 master weights and stored in fp32. The same average again changes
// nothing; an error leaves nothing. Throws Error, for a folder that holds another average, too.
// `progress` hears of each tensor that is done.
using AverageProgress = std::function<void(int64_t done, int64_t all)>;
void average(const std::string& run, const std::vector<int64_t>& steps, const std::string& output,
             const AverageProgress& progress = {});

}  // namespace switchyard
