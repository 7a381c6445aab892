#include "parallel/comm/nccl/watchdog.h"

#include <chrono>
#include <cstdio>
#include <exception>

#include "core/device.h"
#include "core/error.h"
#include "parallel/comm/communicators.h"
#include "parallel/comm/inquiry.h"
#include "parallel/comm/reported_fault.h"

namespace switchyard {

using namespace std::chrono_literals;

NcclWatchdog::NcclWatchdog(int gpu) : thread_([this, gpu] { watch(gpu); }) {}

NcclWatchdog::~NcclWatchdog() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void NcclWatchdog::add(Watched& lane) {
  const std::lock_guard lock(mutex_);
  lanes_.push_back(&lane);
}

void NcclWatchdog::remove(Watched& lane) {
  const std::lock_guard lock(mutex_);
  std::erase(lanes_, &lane);
}

void NcclWatchdog::watch(int gpu) {
  constexpr auto interval = 50ms;
  try {
    select_gpu(gpu);
    std::unique_lock lock(mutex_);
    while (!wake_.wait_for(lock, interval, [&] { return stop_; })) {
      for (Watched* lane : lanes_) {
        const Watched::Fault fault = lane->find_fault();
        if (!fault.text.empty()) end_with(fault.text, fault.code);
      }
    }
  } catch (const std::exception& problem) {  // the GPU itself has failed
    end_with(problem.what(), ExitCode::other);
  }
}

// An abort may itself wait for a GPU that does not answer; it gets a moment, then the process ends.
void NcclWatchdog::end_with(std::string fault, ExitCode code) {
  report_end(code, fault);
  if (!is_reported(fault)) std::fprintf(stderr, "switchyard: [communicator] %s\n", fault.c_str());
  std::fflush(nullptr);
  std::thread([lanes = lanes_, code] {
    if (!lanes.empty()) lanes.front()->end_calls();
    for (Watched* lane : lanes) lane->abort();
    end_job(static_cast<int>(code));
  }).detach();
  std::this_thread::sleep_for(2s);
  end_job(static_cast<int>(code));
}

}  // namespace switchyard
