#include "parallel/comm/exchange_wait.h"

#include <algorithm>
#include <optional>

#include "core/error.h"
#include "core/stop_signal.h"
#include "parallel/comm/culprits.h"
#include "parallel/comm/inquiry.h"
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

// Looks at the ranks that are missing every second or two. What is judged has to be seen again and
// again: a rank that has done its part may end before it has arrived here.
class LostPeers {
 public:
  // The ranks to give up for, with why; nothing while there is hope.
  struct Loss {
    std::vector<int> ranks;
    const char* why;
  };
  std::optional<Loss> look(std::vector<int> missing) {
    const bool stopping = StopSignal::requested();
    if (Clock::now() < next_ || !can_ask_ranks()) return std::nullopt;
    next_ = Clock::now() + (stopping ? 1s : 2s);
    constexpr size_t most = 16;
    if (missing.size() > most) missing.resize(most);
    std::vector<int> gone, silent;
    for (const auto& [rank, answer] : ask_ranks(missing, 400ms)) {
      if (answer.state == PeerState::gone) gone.push_back(rank);
      if (answer.state == PeerState::silent) silent.push_back(rank);
    }
    times_gone_ = gone.empty() ? 0 : times_gone_ + 1;
    times_silent_ = silent.empty() || !stopping ? 0 : times_silent_ + 1;
    if (times_gone_ >= 2) return Loss{gone, "gone"};
    if (times_silent_ >= 3) return Loss{silent, "silent since a signal asked to stop"};
    return std::nullopt;
  }

 private:
  Clock::time_point next_ = Clock::now() + 1s;
  int times_gone_ = 0, times_silent_ = 0;
};

}  // namespace

std::vector<int> world_ranks_of(const Member& self, const std::vector<int>& ranks) {
  if (self.world_ranks.empty()) return ranks;
  std::vector<int> world(ranks.size());
  std::ranges::transform(ranks, world.begin(),
                         [&](int rank) { return self.world_ranks[static_cast<size_t>(rank)]; });
  return world;
}

Overdue describe_overdue(int world_rank, milliseconds timeout, const std::vector<int>& missing) {
  std::string text = fmt::format("no end after {} ms (the timeout)", timeout.count());
  if (missing.empty()) return {std::move(text), ExitCode::timed_out};
  const Culprits culprits = find_culprits(world_rank, missing);
  return {fmt::format("{}; nothing from {}{}", text, describe_ranks(missing), culprits.text),
          culprits.code};
}

void fail_overdue(const Member& self, const Operation& operation, milliseconds timeout,
                  const std::vector<int>& missing) {
  const Overdue overdue = describe_overdue(self.world_rank, timeout, missing);
  fail_operation(self, operation, overdue.text, overdue.code);
}

void wait_for_exchange(const Member& self, const Operation& operation, const ExchangeWait& how) {
  constexpr milliseconds first = 200ms, turn = 500ms;
  const auto begin = Clock::now();
  if (how.wait(std::min(first, how.timeout))) return;
  OpenWait open(fmt::format("{}: {}", describe(self), describe(operation)), how.missing());
  LostPeers lost;
  for (;;) {
    const milliseconds left = how.timeout - since(begin);
    if (left <= 0ms) break;
    if (how.wait(std::min(turn, left))) return;
    const auto missing = how.missing();
    open.set_missing(missing);
    if (const auto loss = lost.look(missing); loss && !how.wait(0ms))
      fail_operation(self, operation,
                     fmt::format("{} {} {}", describe_ranks(loss->ranks),
                                 loss->ranks.size() == 1 ? "is" : "are", loss->why),
                     ExitCode::lost_peer);
  }
  fail_overdue(self, operation, how.timeout, how.missing());
}

}  // namespace switchyard
