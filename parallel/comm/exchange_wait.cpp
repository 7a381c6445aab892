#include "parallel/comm/exchange_wait.h"

#include <algorithm>
#include <thread>

#include "core/error.h"
#include "parallel/comm/culprits.h"
#include "parallel/comm/lost_peers.h"
#include "parallel/comm/rank_activity.h"
#include "parallel/comm/rank_places.h"

namespace switchyard {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using namespace std::chrono_literals;

milliseconds since(Clock::time_point begin) {
  return std::chrono::duration_cast<milliseconds>(Clock::now() - begin);
}

// World ranks of the rest of the group.
std::vector<int> others_of(const Member& self) {
  std::vector<int> others = self.world_ranks;
  std::erase(others, self.world_rank);
  return others;
}

}  // namespace

std::vector<int> world_ranks_of(const Member& self, const std::vector<int>& ranks) {
  if (self.world_ranks.empty()) return ranks;
  std::vector<int> world(ranks.size());
  std::ranges::transform(ranks, world.begin(),
                         [&](int rank) { return self.world_ranks[static_cast<size_t>(rank)]; });
  return world;
}

Overdue describe_overdue(int world_rank, milliseconds timeout, const std::vector<int>& missing,
                         const char* missed) {
  std::string text = fmt::format("no end after {} ms (the timeout)", timeout.count());
  if (missing.empty()) return {std::move(text), ExitCode::timed_out};
  const Culprits culprits = find_culprits(world_rank, missing);
  return {fmt::format("{}; {} {}{}", text, missed, describe_ranks(missing), culprits.text),
          culprits.code};
}

void fail_overdue(const Member& self, const Operation& operation, milliseconds timeout,
                  const std::vector<int>& missing) {
  // Where no message is under way any more, whoever holds up the group is asked for all the same.
  const bool of_group = missing.empty() && self.world_ranks.size() > 1;
  const Overdue overdue =
      of_group ? describe_overdue(self.world_rank, timeout, others_of(self), "its group is with")
               : describe_overdue(self.world_rank, timeout, missing);
  fail_operation(self, operation, overdue.text, overdue.code);
}

void wait_for_exchange(const Member& self, const Operation& operation, const ExchangeWait& how) {
  constexpr milliseconds first = 200ms, turn = 500ms;
  const auto begin = Clock::now();
  if (how.wait(std::min(first, how.timeout))) return;
  OpenWait open(fmt::format("{}: {}", describe(self), describe(operation)), how.missing());
  LostPeers lost;
  for (milliseconds left = how.timeout - since(begin); left > 0ms;
       left = how.timeout - since(begin)) {
    const auto end_of_turn = Clock::now() + std::min(turn, left);
    if (how.wait(std::min(turn, left))) return;
    std::this_thread::sleep_until(end_of_turn);  // where another thread has given up
    const auto missing = how.missing();
    open.set_missing(missing);
    const auto loss = lost.look(missing);
    if (!loss || how.wait(0ms)) continue;
    if (how.give_up) how.give_up();
    fail_operation(self, operation, loss->text(), ExitCode::lost_peer);
  }
  const auto missing = how.missing();
  if (how.give_up) how.give_up();
  fail_overdue(self, operation, how.timeout, missing);
}

}  // namespace switchyard
