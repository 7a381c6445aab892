#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "parallel/comm/exchange_plan.h"
#include "parallel/comm/mpi/progress.h"
#include "parallel/comm/operation.h"
#include "parallel/comm/scratch_pool.h"

// Inside of the mpi backend; handles of MPI stay in the .cpp file.
namespace switchyard {

// What the communicator of one group and its outstanding operations share.
struct MpiGroup {
  struct Native;  // the MPI communicator
  MpiGroup(std::unique_ptr<Native> given, Member member, ProgressEngine& with,
           std::chrono::milliseconds limit);
  ~MpiGroup();

  std::unique_ptr<Native> native;
  const Member self;
  ProgressEngine& engine;
  const std::chrono::milliseconds timeout;
  ScratchPool scratch{Device::cpu, "scratch of an mpi group"};
};

class MpiTask : public ProgressTask, public MessageTask {
 public:
  MpiTask(std::shared_ptr<MpiGroup> group, const Operation& operation);
  ~MpiTask() override;
  void then(std::function<void()> step) override { steps_.push_back(std::move(step)); }
  void send(const void* data, int64_t bytes, int peer, int tag) override;
  void recv(void* data, int64_t bytes, int peer, int tag) override;
  std::byte* scratch(int64_t bytes) override;
  void wait();

 private:
  struct Messages;
  bool poll() noexcept override;
  bool test();
  std::vector<int> missing();  // world ranks whose messages are under way

  std::shared_ptr<MpiGroup> group_;
  const Operation operation_;
  std::unique_ptr<Messages> messages_;
  std::vector<std::function<void()>> steps_;
  size_t step_ = 0;
  Memory scratch_;
  std::string failure_;
  ExitCode failure_code_{};
  std::mutex mutex_;  // guards what a poll changes, for missing()
};

}  // namespace switchyard
