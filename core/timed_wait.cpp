#include "core/timed_wait.h"

#include <thread>

#include "core/host_waits.h"

namespace switchyard {

bool wait_at_most(const Event& event, std::chrono::milliseconds limit) {
  if (event.is_reached()) return true;
  count_host_wait();
  constexpr std::chrono::microseconds between_looks{50};
  const auto end = std::chrono::steady_clock::now() + limit;
  while (!event.is_reached()) {
    if (std::chrono::steady_clock::now() >= end) return false;
    std::this_thread::sleep_for(between_looks);
  }
  return true;
}

}  // namespace switchyard
