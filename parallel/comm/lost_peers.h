#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace switchyard {

// Looks at the ranks that a wait is for every second or two, a few of many at a time; one that
// seems to be gone soon once more, as mpirun ends the others within seconds. What is judged has to
// be seen again and again: a rank that has done its part may end before that has arrived here.
class LostPeers {
 public:
  struct Loss {
    std::vector<int> ranks{};
    const char* why = "";
    std::string text() const;  // world rank 3 on n2 is gone
  };
  // What the wait is given up for: ranks that are gone, or that do not answer while a signal asks
  // to stop. `missing` are world ranks.
  std::optional<Loss> look(std::vector<int> missing);

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point next_ = Clock::now() + std::chrono::milliseconds(200);
  size_t looks_ = 0;
  int times_gone_ = 0, times_silent_ = 0;
};

// What is said of a rank to which `connection` ("the connection") has ended without a good-bye:
// "world rank 3 on n2 is gone", or that the connection alone was cut where the rank still answers.
// Asks it, for a second at most.
std::string describe_cut_off(int world_rank, const std::string& connection);

// Behind a call that failed because of somebody, of whom it does not say: "; world rank 3 on n2 is
// gone; nothing comes back from world rank 4 on n2"; empty where nobody is missed. Asks all ranks,
// some 128 at most.
std::string describe_missed_ranks();

}  // namespace switchyard
