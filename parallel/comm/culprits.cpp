#include "parallel/comm/culprits.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <set>

#include "parallel/comm/inquiry.h"

namespace switchyard {

namespace {

using namespace std::chrono_literals;

constexpr size_t most_asked = 512;

// All that can be reached along waits, with what each says.
std::map<int, PeerAnswer> follow(int mine, std::set<int> ahead) {
  std::map<int, PeerAnswer> all;
  ahead.erase(mine);
  while (!ahead.empty() && all.size() < most_asked) {
    std::vector<int> ranks(ahead.begin(), ahead.end());
    ranks.resize(std::min(ranks.size(), most_asked));
    ahead.clear();
    for (auto& [rank, answer] : ask_ranks(ranks, 1000ms)) all[rank] = std::move(answer);
    for (const auto& [rank, answer] : all)
      if (answer.state == PeerState::waits)
        for (const int next : answer.activity.missing)
          if (next != mine && !all.contains(next)) ahead.insert(next);
  }
  return all;
}

std::vector<int> ranks_in(const std::map<int, PeerAnswer>& answers, PeerState state) {
  std::vector<int> ranks;
  for (const auto& [rank, answer] : answers)
    if (answer.state == state) ranks.push_back(rank);
  return ranks;
}

const char* plural(const std::vector<int>& ranks, const char* one, const char* several) {
  return ranks.size() == 1 ? one : several;
}

const char* silent_words(const std::vector<int>& ranks) {
  return plural(ranks, "does not answer (stopped, or its node or cable is lost)",
                "do not answer (stopped, or their node or cable is lost)");
}

// ", which does not answer", or where others stand between: "; they wait in the end for ...".
std::string blame(const std::vector<int>& missing, const std::vector<int>& culprits,
                  const std::string& why) {
  const bool direct = std::ranges::all_of(
      missing, [&](int rank) { return std::ranges::find(culprits, rank) != culprits.end(); });
  if (direct && missing.size() == culprits.size()) return ", which " + why;
  return fmt::format("; all wait for {}, which {}", describe_ranks(culprits), why);
}

std::string busy_text(const std::map<int, PeerAnswer>& answers, const std::vector<int>& busy) {
  const RankActivity& first = answers.at(busy.front()).activity;
  std::string text = fmt::format("{} in no exchange ({:.0f} s since the last began, in step {})",
                                 plural(busy, "is", "are"), first.seconds, first.step);
  for (const int rank : busy)  // a file server that does not answer is often all that is wrong
    if (const std::string& call = answers.at(rank).activity.call; !call.empty()) {
      return busy.size() == 1
                 ? fmt::format("{}, but in the system's {}", text, call)
                 : fmt::format("{}; world rank {} is in the system's {}", text, rank, call);
    }
  return text;
}

// Of one that has just met its own error, which names whom it blames.
std::string failing_text(const std::map<int, PeerAnswer>& answers) {
  for (const auto& [rank, answer] : answers) {
    const bool waits = answer.state == PeerState::waits;
    if (waits && answer.activity.missing.empty())
      return fmt::format("; one of those waited for ends by: {}", answer.activity.what);
  }
  return "";
}

std::string circle_text(const std::map<int, PeerAnswer>& answers) {
  std::string text = "; all wait for each other: ";
  size_t named = 0;
  for (const auto& [rank, answer] : answers) {
    if (++named > 3) break;
    if (named > 1) text += "; ";
    text += answer.activity.what;
  }
  return text;
}

}  // namespace

std::string describe(const AbsentRanks& absent, std::span<const RankPlace> places) {
  std::string text;
  const auto add = [&](const std::vector<int>& ranks, const std::string& why) {
    if (ranks.empty()) return;
    text += fmt::format("{}{}, which {}", text.empty() ? "nothing from " : "; nor from ",
                        describe_ranks(ranks, places), why);
  };
  add(absent.gone, plural(absent.gone, "is not there (it has ended, or has not begun)",
                          "are not there (they have ended, or have not begun)"));
  add(absent.silent, absent.why_silent.empty()
                         ? silent_words(absent.silent)
                         : fmt::format("{} not answer ({})", plural(absent.silent, "does", "do"),
                                       absent.why_silent));
  return text;
}

std::string describe_absent(int mine, std::span<const int> ranks) {
  if (!can_ask_ranks()) return "";
  std::vector<int> others(ranks.begin(), ranks.end());
  std::erase(others, mine);
  others.resize(std::min(others.size(), most_asked));
  const auto answers = ask_ranks(others, 1000ms);
  return describe(
      {.gone = ranks_in(answers, PeerState::gone), .silent = ranks_in(answers, PeerState::silent)},
      rank_places());
}

Culprits find_culprits(int mine, const std::vector<int>& missing) {
  if (!can_ask_ranks() || missing.empty()) return {};
  const auto answers = follow(mine, {missing.begin(), missing.end()});
  const auto gone = ranks_in(answers, PeerState::gone);
  const auto silent = ranks_in(answers, PeerState::silent);
  const auto busy = ranks_in(answers, PeerState::busy);
  if (!gone.empty())
    return {blame(missing, gone, plural(gone, "is gone", "are gone")), ExitCode::lost_peer};
  if (!silent.empty()) return {blame(missing, silent, silent_words(silent))};
  if (!busy.empty()) return {blame(missing, busy, busy_text(answers, busy))};
  if (auto text = failing_text(answers); !text.empty()) return {std::move(text)};
  return {circle_text(answers)};
}

}  // namespace switchyard
