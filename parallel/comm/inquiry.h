#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>

#include "core/error.h"
#include "parallel/comm/rank_activity.h"

// Ranks that are stuck ask those for which they wait, by datagrams beside all other exchanges; a
// thread of each process answers whatever its ranks do. So the one that holds up all others is
// told from those that only wait for it, and a rank that is gone is known within seconds.
namespace switchyard {

class ControlPlane;

enum class PeerState : uint8_t {
  waits,   // for others
  busy,    // it answers, and waits for nobody
  gone,    // its machine answers that the process is not there
  silent,  // nothing comes back
};
struct PeerAnswer {
  PeerState state = PeerState::silent;
  RankActivity activity{};
};

// For the life of this object this process answers and may ask. Collective, behind
// exchange_rank_places; one per process.
class Inquiries {
 public:
  explicit Inquiries(ControlPlane& control);
  ~Inquiries();
  Inquiries(const Inquiries&) = delete;
  Inquiries& operator=(const Inquiries&) = delete;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

bool can_ask_ranks();
std::map<int, PeerAnswer> ask_ranks(std::span<const int> world_ranks,
                                    std::chrono::milliseconds limit);

// Tells all ranks that this one ends the job with `code`: each leaves its stacks, and ends with the
// same code where the launcher has not ended it within seconds. At the first call alone.
void announce_end(int code, const std::string& why);

// For what this rank is about to throw, a lost peer or a timeout: leaves its stacks, adds where to
// `text`, prints it and announces the end. Where another rank has done so this one has nothing to
// add, and waits for its own end; where another thread of this process has, `text` ends with its
// words.
void report_end(ExitCode code, std::string& text);

}  // namespace switchyard
