#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "core/error.h"

namespace switchyard {

// Who holds up the ranks of a wait.
struct Culprits {
  // Of a line that has named the ranks in `missing`: ", which does not answer ..."; empty where
  // nobody could be asked.
  std::string text{};
  ExitCode code = ExitCode::timed_out;  // lost_peer where one is gone
};

// What is said of ranks that nothing comes from, behind "which".
const char* silent_words(size_t ranks);

// Follows who waits for whom, from the world ranks `missing` of a wait of world rank `mine` on to
// those that wait for nobody. Takes up to a second for each that does not answer in turn.
Culprits find_culprits(int mine, const std::vector<int>& missing);

}  // namespace switchyard
