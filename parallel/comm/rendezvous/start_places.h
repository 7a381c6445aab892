#pragma once

#include <string>
#include <vector>

namespace switchyard {

// Where the ranks of a start run, as its launcher has said to each of them.
struct StartPlaces {
  std::string start{};               // names it on all ranks, and no other one; no spaces
  int rank = 0;                      // this one's, in the world
  std::vector<std::string> hosts{};  // by world rank
};
// What srun says; no hosts where it started nothing here, or not in blocks.
StartPlaces start_places();

}  // namespace switchyard
