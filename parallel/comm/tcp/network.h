#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "parallel/comm/tcp/link.h"
#include "parallel/comm/tcp/task.h"

namespace switchyard {

// The connections of one rank to all others, and the tasks that go on over them. One thread at a
// time drives them: one that waits for a task; else, while tasks want it, a thread of the network.
// Whoever drives sleeps in the kernel until something comes, so that waiting takes no core.
class TcpNetwork final : public TcpTasks, private LinkEvents {
 public:
  // Every other world rank; at this rank's own place an empty one.
  TcpNetwork(int world_rank, std::vector<TcpPeer> peers);
  ~TcpNetwork() override;

  void start(std::shared_ptr<TcpTask> task) override;
  bool wait(const TcpTask& task, std::chrono::milliseconds timeout) override;
  void hold(const std::function<void()>& look) override;
  void give_up() override;
  uint64_t next_group() override { return ++groups_; }
  // Until nothing is outstanding, or somebody has given up; false when `timeout` has passed.
  bool drain(std::chrono::milliseconds timeout);
  // Tells the others that this rank ends in order and waits until they do, too, or are gone.
  void end_in_order(std::chrono::milliseconds timeout);
  int world_rank() const { return world_rank_; }

 private:
  using Lock = std::unique_lock<std::mutex>;
  using Clock = std::chrono::steady_clock;

  void post(TcpMessage& message) override;
  void fail(TcpTask& task, const std::string& why, ExitCode code) override;
  void done(TcpMessage& message) override;
  void mismatch(TcpMessage& message, int64_t sent) override;
  void can_copy(TcpLink& link, TcpMessage& message, const Frame& offer) override;
  void said_lost(int world_rank) override;
  void said_end(TcpLink& link) override;

  template <class Condition>
  bool drive_until(const Condition& reached, std::chrono::milliseconds timeout);
  void drive_while_nobody_waits();
  template <class Condition>
  void turn(std::chrono::milliseconds patience, const Condition& enough);
  void begin_tasks();
  void go_on_with_tasks();
  void take_events(std::chrono::milliseconds patience);
  void copy_messages();
  void flush();
  void watch(TcpLink& link, bool writing);
  void post_to_self(TcpMessage& message);
  void fail_all(const std::string& why, ExitCode code);
  void fail_those_that_wait_for(int world_rank);
  void lose(TcpLink& link, int why);
  void wake();

  const int world_rank_;
  int epoll_ = -1, waker_ = -1;
  std::vector<std::unique_ptr<TcpLink>> links_;  // by world rank; null: this rank
  std::vector<std::string> gone_;                // why
  std::string failure_;                          // nothing goes on behind it
  ExitCode failure_code_{};
  std::vector<std::shared_ptr<TcpTask>> active_;
  std::deque<TcpTask*> ready_;  // whose messages are done
  std::vector<TcpLink*> to_write_;
  struct Copy {
    TcpLink* link;
    TcpMessage* message;
    Frame offer;
  };
  std::deque<Copy> to_copy_;
  struct ToSelf {
    std::deque<TcpMessage*> sent, wanted;
  };
  std::map<FrameKey, ToSelf> to_self_;

  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_, wanted_;
  std::vector<std::shared_ptr<TcpTask>> incoming_;
  bool driving_ = false, stop_ = false;
  bool frozen_ = false;  // somebody has given up
  int waiting_ = 0, holding_ = 0;
  int background_ = 0;  // outstanding tasks that want the network's thread
  std::atomic<int> outstanding_ = 0;
  std::atomic<uint64_t> groups_ = 0;
  std::thread thread_;
};

}  // namespace switchyard
