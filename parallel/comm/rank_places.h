#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace switchyard {

class ControlPlane;

// Where a rank of the world runs.
struct RankPlace {
  std::string host{};
  int local_rank = 0;
  int64_t process = 0;
  std::string device{};  // "cpu", "GPU 3"
};

// All ranks tell each other theirs: collective, once, as soon as they can talk. From then on errors
// of this process name ranks by these places.
void exchange_rank_places(ControlPlane& control, const RankPlace& mine);
// By world rank; empty before, and where there is one rank.
std::span<const RankPlace> rank_places();

// The hosts in the order of their first ranks, and the ranks of each.
struct HostRanks {
  std::string host{};
  std::vector<int64_t> ranks{};
};
std::vector<HostRanks> ranks_of_hosts(std::span<const RankPlace> places);

// "world ranks 2 3 on n2, 5 on n3"; without places "world ranks 2 3 5".
std::string describe_ranks(std::span<const int> world_ranks);
std::string describe_ranks(std::span<const int> world_ranks, std::span<const RankPlace> places);

}  // namespace switchyard
