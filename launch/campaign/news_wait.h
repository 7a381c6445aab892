#pragma once

#include <chrono>
#include <vector>

namespace switchyard {

// Waits for what a process with a StopSignal and open files has to know at once.
class NewsWait {
 public:
  // Until one of `descriptors` has input or a signal comes, at most until `end`. False: a signal,
  // one that has come since the last wait included.
  bool wait(const std::vector<int>& descriptors, std::chrono::steady_clock::time_point end);

 private:
  bool knows_of_stop_ = false;
};

}  // namespace switchyard
