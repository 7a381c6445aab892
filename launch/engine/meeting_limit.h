#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>

namespace switchyard {

// While ranks without MPI look for each other, one that does not come keeps all others waiting. A
// signal that asks to stop ends this process 3 seconds later with `stopped`: there is nothing to
// save yet, and nothing else ends what the wait is in. (Of MPI: parallel/comm/mpi/call_limit.h.)
class MeetingLimit {
 public:
  MeetingLimit();
  ~MeetingLimit();
  MeetingLimit(const MeetingLimit&) = delete;
  MeetingLimit& operator=(const MeetingLimit&) = delete;

 private:
  void watch();

  std::mutex mutex_;
  std::condition_variable over_;
  bool is_over_ = false;
  std::thread thread_;
};

}  // namespace switchyard
