#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace switchyard {

// Something that goes on only while it is polled, such as a non-blocking exchange.
class ProgressTask {
 public:
  // in_background: it needs turns while nobody waits. Short messages do not, the library has
  // taken them when they were posted; without them a small collective wakes no thread.
  explicit ProgressTask(bool in_background) : in_background_(in_background) {}
  virtual ~ProgressTask() = default;
  bool finished() const { return finished_.load(std::memory_order_acquire); }

 protected:
  friend class ProgressEngine;
  // Goes as far as it can without blocking; whether it went on at all. Never called by two threads
  // at once, and not after finish().
  virtual bool poll() noexcept = 0;
  void finish() { finished_.store(true, std::memory_order_release); }

 private:
  const bool in_background_;
  std::atomic<bool> finished_ = false;
};

// Polls tasks until they are finished: a thread that waits for one polls all of them itself, which
// is quickest; else a thread of the engine does, so that exchanges go on while others compute.
// That thread sleeps while nothing is outstanding for it or somebody waits. Whoever polls yields at
// first and then sleeps ever longer, so that waiting takes no core from a rank that computes.
class ProgressEngine {
 public:
  ProgressEngine();
  ~ProgressEngine();

  void start(std::shared_ptr<ProgressTask> task);
  // False when `timeout` has passed.
  bool wait(const ProgressTask& task, std::chrono::milliseconds timeout);
  // Until nothing is outstanding; false when `timeout` has passed.
  bool drain(std::chrono::milliseconds timeout);

 private:
  template <class Condition>
  bool poll_until(const Condition& reached, std::chrono::milliseconds timeout);
  bool try_poll();
  void poll_while_nobody_waits();

  std::mutex polling_;  // held by the thread that polls; guards active_
  std::vector<std::shared_ptr<ProgressTask>> active_;
  std::mutex mutex_;  // guards incoming_, asleep_ and stop_
  std::vector<std::shared_ptr<ProgressTask>> incoming_;
  std::condition_variable wake_;
  bool asleep_ = false;
  bool stop_ = false;
  std::atomic<int> outstanding_ = 0;
  std::atomic<int> background_ = 0;  // those of them that want the engine's thread
  std::atomic<int> waiting_ = 0;
  std::thread thread_;
};

}  // namespace switchyard
