#include "launch/path/resumable.h"

#include <algorithm>
#include <optional>

#include "core/error.h"

namespace switchyard {

namespace {

std::optional<bool> has_moments_if_readable(const CheckpointEntry& entry) {
  try {
    return has_moments(entry);
  } catch (const Error&) {
    return std::nullopt;
  }
}

}  // namespace

void check_resumable(const RunFolder& run, const CheckpointEntry& entry) {
  if (has_moments_if_readable(entry).value_or(true)) return;
  auto below = list_checkpoints(run.checkpoints());
  auto above = below;
  std::erase_if(below, [&](const auto& e) { return e.step >= entry.step; });
  std::erase_if(above, [&](const auto& e) { return e.step <= entry.step; });
  std::ranges::reverse(below);
  std::string nearest;
  for (const auto& entries : {below, above}) {
    const auto found = std::ranges::find_if(
        entries, [](const auto& e) { return has_moments_if_readable(e).value_or(false); });
    if (found == entries.end()) continue;
    nearest += fmt::format("{}{}", nearest.empty() ? "" : " and ", found->step);
  }
  fail("path",
       "step {} of '{}' has weights but no moments any more (--keep-moments), so no training goes "
       "on from it; {}",
       entry.step, run.folder().string(),
       nearest.empty() ? "no saved step has them"
                       : fmt::format("the nearest saved steps with moments: {}", nearest));
}

std::vector<int64_t> steps_without_moments(const RunFolder& run) {
  std::vector<int64_t> steps;
  for (const auto& entry : list_checkpoints(run.checkpoints())) {
    if (entry.complete && !has_moments_if_readable(entry).value_or(true))
      steps.push_back(entry.step);
  }
  return steps;
}

}  // namespace switchyard
