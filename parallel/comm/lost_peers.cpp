#include "parallel/comm/lost_peers.h"

#include <fmt/core.h>

#include <algorithm>
#include <numeric>
#include <span>
#include <thread>

#include "core/stop_signal.h"
#include "parallel/comm/inquiry.h"
#include "parallel/comm/rank_places.h"

namespace switchyard {

using namespace std::chrono_literals;

std::string LostPeers::Loss::text() const {
  return fmt::format("{} {} {}", describe_ranks(ranks), ranks.size() == 1 ? "is" : "are", why);
}

std::optional<LostPeers::Loss> LostPeers::look(std::vector<int> missing) {
  constexpr size_t most = 16;
  if (missing.empty() || Clock::now() < next_ || !can_ask_ranks()) return std::nullopt;
  const bool stopping = StopSignal::requested();
  next_ = Clock::now() + (stopping ? 1s : 2s);
  if (missing.size() > most) {  // two looks at each few
    const size_t first = looks_++ / 2 * most % missing.size();
    std::rotate(missing.begin(), missing.begin() + static_cast<ptrdiff_t>(first), missing.end());
    missing.resize(most);
  }
  std::vector<int> gone, silent;
  for (const auto& [rank, answer] : ask_ranks(missing, 400ms)) {
    if (answer.state == PeerState::gone) gone.push_back(rank);
    if (answer.state == PeerState::silent) silent.push_back(rank);
  }
  times_gone_ = gone.empty() ? 0 : times_gone_ + 1;
  times_silent_ = silent.empty() || !stopping ? 0 : times_silent_ + 1;
  if (times_gone_ > 0) next_ = Clock::now() + 300ms;
  if (times_gone_ >= 2) return Loss{gone, "gone"};
  if (times_silent_ >= 3) return Loss{silent, "silent since a signal asked to stop"};
  return std::nullopt;
}

std::string describe_cut_off(int world_rank, const std::string& connection) {
  const std::span<const int> asked(&world_rank, 1);
  const std::string rank = describe_ranks(asked);
  if (!can_ask_ranks()) return fmt::format("{} is gone, or {} to it was cut", rank, connection);
  // One that is just ending may still answer once.
  for (int time = 0; time < 2; ++time) {
    if (time > 0) std::this_thread::sleep_for(200ms);
    const PeerState state = ask_ranks(asked, 400ms)[world_rank].state;
    if (state == PeerState::gone) return rank + " is gone";
    if (state == PeerState::silent)
      return fmt::format("{} is gone, or {} to it was cut", rank, connection);
  }
  return fmt::format("{} to {} was cut, though that rank answers", connection, rank);
}

std::string describe_missed_ranks() {
  constexpr size_t most = 128;
  const size_t ranks = std::min(rank_places().size(), most);
  if (ranks == 0 || !can_ask_ranks()) return "";
  std::vector<int> all(ranks), gone, silent;
  std::iota(all.begin(), all.end(), 0);
  std::this_thread::sleep_for(300ms);  // for the news of its end
  for (const auto& [rank, answer] : ask_ranks(all, 400ms)) {
    if (answer.state == PeerState::gone) gone.push_back(rank);
    if (answer.state == PeerState::silent) silent.push_back(rank);
  }
  std::string text;
  if (!gone.empty()) text += "; " + LostPeers::Loss{gone, "gone"}.text();
  if (!silent.empty()) text += "; nothing comes back from " + describe_ranks(silent);
  return text;
}

}  // namespace switchyard
