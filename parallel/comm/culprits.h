#pragma once

#include <span>
#include <string>
#include <vector>

#include "core/error.h"
#include "parallel/comm/rank_places.h"

namespace switchyard {

// Who holds up the ranks of a wait.
struct Culprits {
  // Of a line that has named the ranks in `missing`: ", which does not answer ..."; empty where
  // nobody could be asked.
  std::string text{};
  ExitCode code = ExitCode::timed_out;  // lost_peer where one is gone
};

// Ranks that are not there, of some that were asked.
struct AbsentRanks {
  std::vector<int> gone{}, silent{};
  std::string why_silent{};  // what it may be, in brackets
};
// "nothing from world rank 3 on n2, which does not answer ..."; empty where all are there.
std::string describe(const AbsentRanks& absent, std::span<const RankPlace> places);
// The same of a wait of world rank `mine` in which nobody knows who is missing, for these ranks;
// empty also where nobody can be asked.
std::string describe_absent(int mine, std::span<const int> ranks);

// Follows who waits for whom, from the world ranks `missing` of a wait of world rank `mine` on to
// those that wait for nobody. Takes up to a second for each that does not answer in turn.
Culprits find_culprits(int mine, const std::vector<int>& missing);

}  // namespace switchyard
