#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

namespace switchyard {

// A limit on calls of MPI that nothing else ends when another rank does not come: at the timeout
// the process says which rank it is, as its launcher told it, and ends with `timed_out`. While the
// job starts, a signal that asks to stop ends it with `stopped` a few seconds later: there is
// nothing to save yet.
class CallLimit {
 public:
  enum class Phase { start, later };
  // `doing`: "MPI_Init", of what is said. At the timeout `why` is asked who has not come; empty:
  // nobody knows.
  CallLimit(std::string doing, std::chrono::milliseconds timeout, Phase phase,
            std::function<std::string()> why = {});
  ~CallLimit();
  CallLimit(const CallLimit&) = delete;
  CallLimit& operator=(const CallLimit&) = delete;

 private:
  void watch() const;
  std::string ask() const;
  [[noreturn]] void end_late(std::chrono::milliseconds not_run) const;
  [[noreturn]] void end_with(int code, const std::string& why,
                             std::chrono::seconds pause = std::chrono::seconds(0)) const;

  const std::string doing_;
  const std::chrono::milliseconds timeout_;
  const Phase phase_;
  const std::function<std::string()> why_;
  mutable std::mutex mutex_;
  mutable std::condition_variable over_;
  bool is_over_ = false;
  std::thread thread_;
};

}  // namespace switchyard
