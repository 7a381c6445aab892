#pragma once

#include <span>
#include <string>
#include <vector>

#include "parallel/comm/rank_places.h"
#include "parallel/mesh.h"

namespace switchyard {

// Lines for a start's log: of each node its ranks, their local ranks, coordinates on the layout's
// axes, devices and processes ("n1: ranks 0-7 (local 0-7), tp 0-7, pp 0, dp 0, GPU 0-7, processes
// 71-78"); of a job of many nodes the first ones, and how many more there are. `places` by world
// rank; none: no line.
std::vector<std::string> describe_placement(std::span<const RankPlace> places,
                                            const Layout& layout);

// Where tp groups cross nodes, so that the exchanges inside of each layer go through the network:
// how many, the first of them, and what helps. Empty: none does.
std::string describe_crossing(std::span<const RankPlace> places, const Layout& layout);

// The ranks that save into the same files as `rank`, ascending; the first of them makes these.
// Each node has `writers` such groups, of as many ranks as can be. Without places there is one
// rank. Throws Error where the rank's node has fewer ranks.
std::vector<int> ranks_sharing_files(std::span<const RankPlace> places, int rank, int64_t writers);

}  // namespace switchyard
