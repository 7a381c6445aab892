#pragma once

#include <nccl.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>

#include "tests/emulated_cuda/nccl_rendezvous.h"

// NCCL's functions between processes of one machine. A communicator that does not block answers
// "in progress" to every call and has queued nothing until that is asked for: a program that goes
// on too early fails here.
struct ncclComm {
  int rank = 0, size = 1;
  bool blocking = true;
  std::shared_ptr<switchyard::emulated::Rendezvous> meeting;
  std::atomic<bool> aborted = false;
  std::atomic<bool> occupied = false;  // a call on it is under way
  bool joins = false;                  // the next success ends the thread that had done the work
  uint64_t splits = 0;
  std::mutex mutex;                  // guards what follows
  std::function<bool()> unfinished;  // what is in progress; true when done
  ncclResult_t error = ncclSuccess;
};

namespace switchyard::emulated {

// A call on a communicator, for as long as it lasts. A real one may not be used by two threads at
// once, not even to ask for its state, which joins and frees what a call has started; here the
// process ends and says so.
class Occupied {
 public:
  Occupied(ncclComm& comm, const char* call);
  ~Occupied() { comm_.occupied = false; }
  Occupied(const Occupied&) = delete;
  Occupied& operator=(const Occupied&) = delete;

 private:
  ncclComm& comm_;
};

// Starts work that is over when it answers true; of a communicator that blocks, waits for it.
ncclResult_t begin(ncclComm& comm, const std::function<bool()>& work);

}  // namespace switchyard::emulated
