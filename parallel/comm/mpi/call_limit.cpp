#include "parallel/comm/mpi/call_limit.h"

#include <fmt/core.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <utility>

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
  constexpr auto turn = 500ms, patience = 3000ms;  // behind a signal
  const auto begin = Clock::now(), end = begin + timeout_;
  auto stopped = Clock::time_point::max();
  auto now = begin;
  Clock::duration not_run{};  // for how long at a stretch
  std::unique_lock lock(mutex_);
  while (now < end) {
    if (over_.wait_until(lock, std::min<Clock::time_point>(end, now + turn),
                         [&] { return is_over_; }))
      return;
    const auto before = std::exchange(now, Clock::now());
    not_run = std::max<Clock::duration>(not_run, now - before - turn);
    if (phase_ == Phase::later || !StopSignal::requested()) continue;
    stopped = std::min(stopped, now);
    if (now - stopped > patience || now >= end)
      end_with(static_cast<int>(ExitCode::stopped), "was stopped by a signal");
  }
  end_late(std::chrono::duration_cast<std::chrono::milliseconds>(not_run));
}

// Without threads or memory for it nobody is asked; the timeout is said all the same.
std::string CallLimit::ask() const {
  try {
    return why_ ? why_() : "";
  } catch (const std::exception&) {
    return "";
  }
}

// One that was stopped itself, or whose machine was, is the one that was waited for.
void CallLimit::end_late(std::chrono::milliseconds not_run) const {
  constexpr auto long_pause = 2000ms;
  std::string who;
  if (not_run > long_pause)
    who = fmt::format("this process has not run for {} ms of them", not_run.count());
  else
    who = ask();
  const auto answering =
      who.empty() ? 0s : 2s;  // others ask a little later, and this rank is there
  if (who.empty()) who = "another rank has not come, or has died";
  end_with(static_cast<int>(ExitCode::timed_out),
           fmt::format("no end after {} ms (the timeout); {}", timeout_.count(), who), answering);
}

// Nothing of MPI's may be called; the launcher ends the others.
void CallLimit::end_with(int code, const std::string& why, std::chrono::seconds pause) const {
  static std::atomic<bool> ends = false;  // by another limit, around this one or within
  if (ends.exchange(true)) std::this_thread::sleep_for(1min);
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
