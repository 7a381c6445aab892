#pragma once

#include <string>
#include <vector>

#include "launch/path/average_members.h"

// The mean over a window of a path out of two checkpoints with a running mean.
namespace switchyard {

struct AverageWindow {
  int64_t begin = 0, end = 0;  // the weights behind the steps begin + 1 to end
};
AverageWindow parse_window(const std::string& text);  // "A:B"; throws Error
std::string show(const AverageWindow& window);        // "window A:B", in the place of --weights-of

// The checkpoints that the window is made of, and what the sums in them count for:
// (S_B - S_A) / (n_B - n_A), or S_B / n_B where the mean began at A.
struct WindowSums {
  std::vector<AverageMember> members;
  std::vector<double> coefficients;
  std::string group;  // of the sums
};
// `average`: the group of the running mean, "average/NAME". Throws Error where a step is not saved
// or has no running mean of that name, or none that began as early.
WindowSums window_sums(const std::string& run, const AverageWindow& window,
                       const std::string& average);

}  // namespace switchyard
