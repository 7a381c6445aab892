#include "launch/path/step_needs.h"

#include <fmt/core.h>

namespace switchyard {

std::vector<StepNeed> step_needs(std::span<const Pin> pins) {
  std::vector<StepNeed> needs;
  for (const Pin& pin : pins) {
    if (!pin.counts) continue;
    const auto branch = pin.branch.lexically_normal().string();
    needs.push_back(
        {pin.step, true,
         branch.empty() ? "a fork point" : fmt::format("the fork point of '{}'", branch)});
  }
  return needs;
}

}  // namespace switchyard
