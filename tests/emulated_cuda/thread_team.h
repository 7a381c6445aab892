#pragma once

#include <functional>

namespace emulated {

// Runs `work` on this thread and on helpers, as many together as the machine (or OMP_NUM_THREADS)
// gives, and returns when all have returned. One caller at a time.
void run_on_team(const std::function<void()>& work);

}  // namespace emulated
