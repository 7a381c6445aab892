#pragma once

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "parallel/pipeline/schedule.h"

namespace switchyard::test {

// The most microbatches whose activations live at once: forward begun, backward not done. One
// without a backward in the list lives during its forward only.
inline int peak_live(const std::vector<Action>& actions) {
  const auto ends_life = [](const Action& a) {
    return a.kind == ActionKind::backward || a.kind == ActionKind::backward_weight;
  };
  std::set<std::pair<int, int>> with_backward;
  for (const Action& a : actions) {
    if (ends_life(a)) with_backward.emplace(a.chunk, a.microbatch);
  }
  int live = 0;
  int peak = 0;
  for (const Action& a : actions) {
    if (a.kind == ActionKind::forward) {
      peak = std::max(peak, live + 1);
      live += with_backward.contains({a.chunk, a.microbatch}) ? 1 : 0;
    } else if (ends_life(a)) {
      --live;
    }
  }
  return peak;
}

}  // namespace switchyard::test
