#include "launch/path/retention_plan.h"

#include <fmt/ranges.h>

#include <algorithm>

namespace switchyard {

namespace {

// `newer`: how many saved steps are.
std::vector<std::string> reasons_to_stay(int64_t step, int64_t newer,
                                         std::span<const StepNeed> needs,
                                         const RetentionOptions& options) {
  std::vector<std::string> reasons;
  if (newer == 0) {
    reasons.emplace_back("the newest");
  } else if (options.checkpoints == 0) {
    reasons.emplace_back("all stay");
  } else if (newer < options.checkpoints) {
    reasons.push_back(fmt::format("one of the newest {}", options.checkpoints));
  }
  if (options.every > 0 && step % options.every == 0) {
    reasons.push_back(fmt::format("a multiple of {}", options.every));
  }
  for (const StepNeed& need : needs) {
    if (need.step == step) reasons.push_back(need.why);
  }
  return reasons;
}

// Those of other saved steps only where these stay for reasons of their own.
std::vector<StepNeed> needs_that_count(std::span<const SavedStep> saved,
                                       std::span<const StepNeed> needs,
                                       const RetentionOptions& options) {
  std::vector<StepNeed> count, of_steps;
  for (const StepNeed& need : needs) (need.user ? of_steps : count).push_back(need);
  std::vector<int64_t> staying;
  int64_t newer = 0;
  for (auto each = saved.rbegin(); each != saved.rend(); ++each) {
    const bool stays =
        !each->problem.empty() || !reasons_to_stay(each->step, newer, count, options).empty();
    if (stays) staying.push_back(each->step);
    if (each->problem.empty()) ++newer;
  }
  std::erase_if(of_steps, [&](const StepNeed& need) {
    return std::ranges::find(staying, *need.user) == staying.end();
  });
  count.insert(count.end(), of_steps.begin(), of_steps.end());
  return count;
}

bool needs_moments(int64_t step, std::span<const StepNeed> needs) {
  return std::ranges::any_of(
      needs, [&](const StepNeed& need) { return need.step == step && need.moments; });
}

}  // namespace

std::string describe_unreadable(const std::string& problem) {
  return fmt::format("cannot be read and does not count: {}", problem);
}

std::vector<StepFate> plan_retention(std::span<const SavedStep> saved,
                                     std::span<const StepNeed> all_needs,
                                     const RetentionOptions& options) {
  const auto needs = needs_that_count(saved, all_needs, options);
  std::vector<StepFate> fates;
  int64_t newer = 0, newer_staying = 0;
  for (auto each = saved.rbegin(); each != saved.rend(); ++each) {
    if (!each->problem.empty()) {
      fates.push_back({each->step, Fate::stays, describe_unreadable(each->problem)});
      continue;
    }
    auto reasons = reasons_to_stay(each->step, newer++, needs, options);
    StepFate fate{each->step, Fate::stays, {}};
    if (reasons.empty()) {
      fate.fate = Fate::goes;
      reasons.push_back(fmt::format("older than the newest {}", options.checkpoints));
    } else {
      const bool beyond = options.moments > 0 && newer_staying++ >= options.moments;
      const bool loses = beyond && each->has_moments && !needs_moments(each->step, needs);
      fate.is_bound = loses && !each->bound.empty();
      if (loses && !fate.is_bound) fate.fate = Fate::loses_moments;
      if (fate.is_bound) reasons.push_back(each->bound);
      if (!each->has_moments) reasons.emplace_back("without moments");
    }
    fate.why = fmt::format("{}", fmt::join(reasons, ", "));
    fates.push_back(std::move(fate));
  }
  std::ranges::reverse(fates);
  return fates;
}

}  // namespace switchyard
