#pragma once

#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core/error.h"

namespace switchyard {

// What the watchdog looks at.
class Watched {
 public:
  struct Fault {
    std::string text{};  // what is wrong, or nothing
    ExitCode code = ExitCode::lost_peer;
  };
  virtual Fault find_fault() = 0;
  virtual void end_calls() = 0;  // of the whole process, for good; before abort
  virtual void abort() = 0;

 protected:
  ~Watched() = default;
};

// A thread that looks at every NCCL communicator of the process several times a second. When one
// reports an error or an operation takes longer than the timeout, it prints rank, group, operation,
// label and step, aborts all communicators and ends the job: threads that wait for a GPU on which a
// peer is missed could not be told otherwise.
class NcclWatchdog {
 public:
  explicit NcclWatchdog(int gpu);
  ~NcclWatchdog();
  void add(Watched& lane);
  void remove(Watched& lane);

 private:
  void watch(int gpu);
  [[noreturn]] void end_with(std::string fault, ExitCode code);

  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<Watched*> lanes_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace switchyard
