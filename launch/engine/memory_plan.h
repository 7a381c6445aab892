#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "launch/engine/engine_options.h"

namespace switchyard {

// What a rank's memory is for, from the same tables that the allocations are made by.
struct MemoryLine {
  std::string purpose;  // "weights", "gradients", ...
  int64_t bytes = 0;
};
struct MemoryPlan {
  std::vector<MemoryLine> ours;     // one allocation each
  std::vector<MemoryLine> outside;  // taken by libraries and driver on a GPU: estimates
  int64_t saved_bytes = 0;          // of a checkpoint, at most: a save copies them to host memory
  int64_t our_bytes() const;
  int64_t all_bytes() const;
};

// Of the rank at `place`. Throws Error for what check_engine refuses.
MemoryPlan plan_memory(const EngineOptions& options, const Layout& layout,
                       const Coordinates& place);

}  // namespace switchyard
