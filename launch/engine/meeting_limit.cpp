#include "launch/engine/meeting_limit.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "core/error.h"
#include "core/stop_signal.h"
#include "parallel/comm/rendezvous/job_environment.h"
#include "parallel/comm/rendezvous/job_identity.h"

namespace switchyard {

using namespace std::chrono_literals;

namespace {

[[noreturn]] void end_stopped() {
  std::fprintf(stderr,
               "switchyard: [launch] world rank %d on %s: a signal asked to stop before the first "
               "step, and other ranks have not come; nothing is lost\n",
               rank_among_several().value_or(0), job_identity().host.c_str());
  std::fflush(nullptr);
  std::_Exit(static_cast<int>(ExitCode::stopped));
}

}  // namespace

MeetingLimit::MeetingLimit() : thread_([this] { watch(); }) {}

MeetingLimit::~MeetingLimit() {
  {
    const std::lock_guard lock(mutex_);
    is_over_ = true;
  }
  over_.notify_all();
  thread_.join();
}

void MeetingLimit::watch() {
  constexpr auto turn = 250ms, patience = 3000ms;
  std::unique_lock lock(mutex_);
  for (auto stopping = 0ms; stopping < patience;) {
    if (over_.wait_for(lock, turn, [&] { return is_over_; })) return;
    if (StopSignal::requested()) stopping += turn;
  }
  end_stopped();
}

}  // namespace switchyard
