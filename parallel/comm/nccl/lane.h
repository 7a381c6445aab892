#pragma once

#include <nccl.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "core/device.h"
#include "parallel/comm/lost_peers.h"
#include "parallel/comm/nccl/watchdog.h"
#include "parallel/comm/operation.h"
#include "parallel/comm/rank_activity.h"
#include "parallel/comm/scratch_pool.h"

namespace switchyard {

// What all NCCL communicators of a process share.
struct NcclProcess {
  std::chrono::milliseconds timeout{60'000};
  int gpu = 0;
  NcclWatchdog* watchdog = nullptr;
  // Held for every call on a communicator that the watchdog looks at, too: NCCL allows one thread
  // at a time, even to ask for the state, which joins and frees what a call has started.
  std::mutex calls;
  // Host buffers go through these.
  ScratchPool staging{Device::cuda, "staging of nccl"};
  ScratchPool pinned{ScratchPool::pinned, "staging of nccl"};
};

// One operation: queued behind `ready`, at an end with `done`.
struct NcclWork final : Handle::Work {
  explicit NcclWork(NcclProcess& given) : process(given) {}
  void wait(Stream& stream) override;
  void reset();  // before it is used again

  NcclProcess& process;
  Member self;
  Operation operation;
  Event ready{Device::cuda}, done{Device::cuda};
  bool captured = false;   // into a graph: it is never watched here
  bool queued = false;     // false while its group of operations is open
  Memory on_gpu, on_host;  // of a host buffer
  int64_t out_offset = 0;  // there, in bytes
};

// An NCCL communicator with a stream of its own, so that nothing but its own operations, in their
// order, holds up an operation. Used by one thread at a time, and by the watchdog.
class NcclLane final : public Watched {
 public:
  // The communicator may still be in the making; this waits for it, up to the timeout, and takes it
  // over.
  NcclLane(NcclProcess& process, Member self, ncclComm_t comm);
  ~NcclLane();  // flushes and frees the communicator, or aborts it under an exception
  NcclLane(const NcclLane&) = delete;
  NcclLane& operator=(const NcclLane&) = delete;

  Handle start(const Operation& operation, Stream& caller);
  // The members that give the same color, which is not negative unless this rank takes no part
  // (then null). Collective; nothing may be outstanding.
  ncclComm_t split(int color, int key, const ncclConfig_t& config);
  void settle(const char* doing);  // until the communicator is ready for the next call
  void finish(const std::shared_ptr<NcclWork>& work);  // all its calls have been made
  // By the watchdog alone.
  Fault find_fault() override;
  void end_calls() override { process_.calls.lock(); }
  void abort() override { ncclCommAbort(comm_); }
  const Member& self() const { return self_; }
  NcclProcess& process() { return process_; }

 private:
  using Clock = std::chrono::steady_clock;
  std::shared_ptr<NcclWork> take(bool captured);
  ncclResult_t state();
  void retire();
  std::vector<int> partners_of(const Operation& operation) const;  // world ranks
  void stage(NcclWork& work, const void*& in, void*& out);
  void call(const Operation& operation, const void* in, void* out);
  void exchange_parts(const Operation& operation, const void* in, void* out);

  NcclProcess& process_;
  const Member self_;
  ncclComm_t comm_;
  ncclComm_t child_ = nullptr;  // of a split under way, written by NCCL's own thread
  const int exceptions_;
  Stream stream_{Device::cuda, Priority::high};
  std::mutex mutex_;  // guards what follows
  std::deque<std::shared_ptr<NcclWork>> outstanding_;
  std::vector<std::shared_ptr<NcclWork>> idle_;
  std::optional<OpenWait> open_wait_;  // for the first of them, where it lasts
  LostPeers lost_peers_;
  Clock::time_point head_since_{};  // when the first outstanding one was seen to be ready
};

// Between the two calls operations of this thread, on any lane, are collected and then start
// together.
void begin_nccl_group();
void end_nccl_group();

}  // namespace switchyard
