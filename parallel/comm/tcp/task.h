#pragma once

#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/error.h"
#include "parallel/comm/exchange_plan.h"
#include "parallel/comm/operation.h"
#include "parallel/comm/scratch_pool.h"
#include "parallel/comm/tcp/frame.h"

namespace switchyard {

class TcpNetwork;
class TcpTask;
struct TcpMessage;

// What tasks ask of the network that they go over.
class TcpTasks {
 public:
  virtual ~TcpTasks() = default;
  virtual void start(std::shared_ptr<TcpTask> task) = 0;
  // False when `timeout` has passed.
  virtual bool wait(const TcpTask& task, std::chrono::milliseconds timeout) = 0;
  // Runs `look` while nothing moves.
  virtual void hold(const std::function<void()>& look) = 0;
  // Nothing moves from here on: the buffers of all tasks are their owners' again.
  virtual void give_up() = 0;
  virtual uint64_t next_group() = 0;  // another number each time
  // While the network is driven.
  virtual void post(TcpMessage& message) = 0;
  virtual void fail(TcpTask& task, const std::string& why, ExitCode code) = 0;
};

// What the communicator of one group and its outstanding operations share.
struct TcpGroup {
  TcpTasks& network;
  const Member self;
  const uint64_t id = 0;  // alike on its members, on none of them another group's
  const std::chrono::milliseconds timeout;
  ScratchPool scratch{Device::cpu, "scratch of a tcp group"};
};

// One message of a task, to or from one peer.
struct TcpMessage {
  TcpTask* task = nullptr;
  std::byte* data = nullptr;
  int64_t bytes = 0;
  int peer = 0;  // in the group
  FrameKey key{};
  bool incoming = false;
  bool done = false;
  bool abandoned = false;  // its task has failed while it was being written
  int64_t moved = 0;       // of a long one
  uint64_t number = 0;     // likewise
};

// One operation. Only the thread that drives the network touches it between start and finish.
class TcpTask : public MessageTask {
 public:
  TcpTask(std::shared_ptr<TcpGroup> group, const Operation& operation);
  ~TcpTask() override;
  void then(std::function<void()> step) override { steps_.push_back(std::move(step)); }
  void send(const void* data, int64_t bytes, int peer, int tag) override;
  void recv(void* data, int64_t bytes, int peer, int tag) override;
  std::byte* scratch(int64_t bytes) override;
  // Throws Error naming the operation when it failed or did not end in time.
  void wait();

  bool finished() const { return finished_.load(std::memory_order_acquire); }
  // Whether it needs turns while nobody waits; what is short the kernel holds.
  bool in_background() const { return in_background_; }

 private:
  friend class TcpNetwork;
  void add(TcpMessage message, int peer, int tag);
  void post_all();
  void go_on();                // all messages are done
  std::vector<int> missing();  // world ranks whose messages are under way

  std::shared_ptr<TcpGroup> group_;
  const Operation operation_;
  const bool in_background_;
  bool begun_ = false;
  std::deque<TcpMessage> messages_;
  size_t open_ = 0;  // of them
  std::vector<std::function<void()>> steps_;
  size_t step_ = 0;
  Memory scratch_;
  std::string failure_;
  ExitCode failure_code_{};
  std::atomic<bool> finished_ = false;
};

}  // namespace switchyard
