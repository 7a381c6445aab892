#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "parallel/comm/operation.h"

namespace switchyard {

// How an exchange is waited for.
struct ExchangeWait {
  // Waits at most so long; whether it has ended.
  std::function<bool(std::chrono::milliseconds)> wait{};
  // The world ranks whose part is still to come.
  std::function<std::vector<int>()> missing{};
  // Before an Error is thrown: from here on nothing is read or written any more.
  std::function<void()> give_up{};
  std::chrono::milliseconds timeout{};
};
// Returns when it has ended. Throws Error: `lost_peer` when a rank whose part is missing is gone,
// or, behind a signal that asks to stop, when one does not answer; `timed_out` at the timeout. Both
// name who is to blame.
void wait_for_exchange(const Member& self, const Operation& operation, const ExchangeWait& how);

// The Error at the timeout.
[[noreturn]] void fail_overdue(const Member& self, const Operation& operation,
                               std::chrono::milliseconds timeout, const std::vector<int>& missing);
// What it says behind "rank ...: operation ...: ", and its code: also for what ends the job itself.
struct Overdue {
  std::string text{};
  ExitCode code{};
};
Overdue describe_overdue(int world_rank, std::chrono::milliseconds timeout,
                         const std::vector<int>& missing, const char* missed = "nothing from");

// World ranks of ranks of the group.
std::vector<int> world_ranks_of(const Member& self, const std::vector<int>& ranks);

}  // namespace switchyard
