#pragma once

#include <signal.h>
#include <sys/types.h>

#include <unistd.h>

#include <chrono>
#include <map>
#include <set>
#include <string>

#include "launch/launcher/faults_note.h"
#include "launch/launcher/launch_plan.h"
#include "launch/launcher/stop_requests.h"

namespace switchyard {

// How the ranks of a node have ended.
struct RanksEnd {
  int code = 0;            // to end with, as in the table of docs/paths.md
  bool was_asked = false;  // a signal asked them to stop
};

// The ranks of this node, each a process of this program with a place of its own among all. The
// signals that come to the launcher are for them; docs/paths.md says which means what. Once one has
// failed the others have seconds to end by themselves.
class NodeRanks {
 public:
  // Starts them. Throws Error where they cannot be started.
  explicit NodeRanks(const LaunchPlan& plan);
  RanksEnd run();  // until all have ended

 private:
  using Clock = std::chrono::steady_clock;

  [[noreturn]] void become_rank(int local) const;
  [[noreturn]] void refuse_start(int local, int why) const;
  void reap();
  void note(int local, int state);
  void note_signal(int local, int number);
  void pass_on(int number);
  bool ends_at_once(int number);
  void signal_all(int number) const;
  void stop_those_left();
  void end_by_deadline();
  void look_at_those_left();
  void mention_stuck();
  void report(int local, const std::string& what, const std::string& text) const;
  bool has_failed() const;

  const LaunchPlan& plan_;
  const pid_t launcher_ = getpid();
  FaultsNote faults_;
  int port_ = 0;
  sigset_t before_{};
  std::map<pid_t, int> running_;  // the local rank of each
  std::map<pid_t, int> stuck_;    // for how many seconds it has not run
  int status_ = 0;
  StopRequests requests_;
  std::set<int> passed_on_;   // signals; ranks may end by any of them
  bool is_ending_ = false;    // all, at once, as a second one asked
  bool has_stopped_ = false;  // a rank, as a signal asked
  bool looked_ = false;       // at ranks that do not end
  Clock::time_point stop_others_ = Clock::time_point::max();
  Clock::time_point deadline_{};
};

}  // namespace switchyard
