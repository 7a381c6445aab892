#pragma once

#include <chrono>

namespace switchyard {

// What clients of one TCP store took, rank 0's clock, in seconds.
struct StoreTimes {
  double join = 0;     // until all have come
  double barrier = 0;  // one of several
  double gather = 0;   // of 64 bytes from each
  double leave = 0;    // until rank 0 has seen all ends
};

// Ranks that are threads of this process join, meet and leave. Throws the Error of any of them.
StoreTimes run_store_clients(int ranks, std::chrono::milliseconds timeout);

}  // namespace switchyard
