#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string>

#include "parallel/comm/rank_places.h"
#include "parallel/comm/wait_clock.h"
#include "parallel/mesh.h"

namespace switchyard {

// Of one rank, over some steps; seconds.
struct RankTimes {
  double steps = 0;    // of all of it
  double waiting = 0;  // for exchanges
  double reading = 0;  // its samples
};

// The line of --log-stragglers: the ranks that wait least, for which the others wait, with what
// they are busy for, and the median rank.
std::string describe_stragglers(int64_t first_step, int64_t last_step,
                                std::span<const RankTimes> ranks,
                                std::span<const RankPlace> places);

// --log-stragglers N: every N steps rank 0 logs which ranks the others wait for.
class StragglerWatch {
 public:
  // interval: 0 watches nothing, as a world of one rank does.
  StragglerWatch(int64_t interval, const Mesh& mesh, Device device);

  void begin_step();  // around the queuing of a step's work
  void end_step();
  // Calls `read`, whose time is this rank's for its samples.
  template <class Read>
  void time_reading(const Read& read) {
    if (!is_on()) return read();
    const auto begin = std::chrono::steady_clock::now();
    read();
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - begin;
    mine_.reading += passed.count();
  }
  // What the step came to is known, and it took `seconds`. Collective behind each N-th step.
  void finish_step(int64_t step, double seconds);

 private:
  bool is_on() const { return interval_ > 0; }

  int64_t interval_;
  const Mesh& mesh_;
  WaitClock waits_;
  RankTimes mine_;
  int64_t first_step_ = 0;
};

}  // namespace switchyard
