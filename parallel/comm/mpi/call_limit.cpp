#include "parallel/comm/mpi/call_limit.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "core/error.h"
#include "core/fault_report.h"
#include "core/stop_signal.h"
#include "parallel/comm/mpi/shared_memory.h"
#include "parallel/comm/rendezvous/job_environment.h"
#include "parallel/comm/rendezvous/job_identity.h"

namespace switchyard {

using namespace std::chrono_literals;

CallLimit::CallLimit(std::string doing, std::chrono::milliseconds timeout, Phase phase,
                     std::function<std::string()> why)
    : doing_(std::move(doing)),
      timeout_(timeout),
      phase_(phase),
      why_(std::move(why)),
      thread_([this] { watch(); }) {}

CallLimit::~CallLimit() {
  {
    const std::lock_guard lock(mutex_);
    is_over_ = true;
  }
  over_.notify_all();
  thread_.join();
}

void CallLimit::watch() const {
  using Clock = std::chrono::steady_clock;
  constexpr auto patience = 3s;  // behind a signal
  const auto end = Clock::now() + timeout_;
  auto stopped = Clock::time_point::max();
  std::unique_lock lock(mutex_);
  while (Clock::now() < end) {
    const auto turn = std::min<Clock::time_point>(end, Clock::now() + 500ms);
    if (over_.wait_until(lock, turn, [&] { return is_over_; })) return;
    if (phase_ == Phase::later || !StopSignal::requested()) continue;
    if (stopped == Clock::time_point::max()) stopped = Clock::now();
    if (Clock::now() - stopped > patience)
      end_with(static_cast<int>(ExitCode::stopped), "was stopped by a signal");
  }
  std::string who = why_ ? why_() : "";
  const bool asked = !who.empty();
  if (who.empty()) who = "another rank has not come, or has died";
  const auto answering = asked ? 2s : 0s;  // others ask a little later, and this rank is there
  end_with(static_cast<int>(ExitCode::timed_out),
           fmt::format("no end after {} ms (the timeout); {}", timeout_.count(), who), answering);
}

// Nothing of MPI's may be called; the launcher ends the others.
void CallLimit::end_with(int code, const std::string& why, std::chrono::seconds pause) const {
  const std::string text =
      fmt::format("[mpi] world rank {} on {}: {}: {}", rank_among_several().value_or(0),
                  job_identity().host, doing_, why);
  const std::string stacks = write_fault_report(text);
  std::fprintf(stderr, "switchyard: %s%s\n", text.c_str(), stacks.c_str());
  std::fflush(nullptr);
  std::this_thread::sleep_for(pause);
  remove_names_of_shared_memory();
  std::_Exit(code);
}

}  // namespace switchyard
