#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace switchyard {

struct RetentionOptions {
  int64_t checkpoints = 0;  // --keep-checkpoints: so many of the newest stay; 0: all
  int64_t every = 0;        // --keep-every: its multiples stay beside them; 0: none do
  int64_t moments = 0;      // --keep-moments: so many of the newest keep their moments; 0: all
};

struct SavedStep {
  int64_t step = 0;
  bool has_moments = true;
  std::string bound = {};    // why the moments cannot be taken away; empty: they can
  std::string problem = {};  // why nothing can go on from it; empty: it can
};

// What something else than training needs of a saved step, for as long as it is there.
struct StepNeed {
  int64_t step = 0;
  bool moments = false;  // or the weights alone
  std::string why;       // "the fork point of 'runs/v1'"
  // Another saved step has the need, for as long as it stays for a reason of its own.
  std::optional<int64_t> user = {};
};

enum class Fate : uint8_t { stays, loses_moments, goes };
struct StepFate {
  int64_t step = 0;
  Fate fate = Fate::stays;
  std::string why;        // it stays or goes
  bool is_bound = false;  // it would lose its moments, but for SavedStep::bound
};

// What becomes of each saved step, a pure function. `saved` is ascending; the newest is never
// touched. Moments stay with the newest --keep-moments of the steps that stay. A step with a
// problem stays as it is and counts nowhere, so that no good one goes in its favour.
std::vector<StepFate> plan_retention(std::span<const SavedStep> saved,
                                     std::span<const StepNeed> needs,
                                     const RetentionOptions& options);
// Why a step with this problem stays.
std::string describe_unreadable(const std::string& problem);

}  // namespace switchyard
