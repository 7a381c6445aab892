#pragma once

#include <memory>
#include <mutex>
#include <span>

#include "parallel/comm/communicator.h"
#include "parallel/comm/scratch_pool.h"

namespace switchyard {

// How an exchange between threads touches buffers: at once in host memory, or on a GPU as work of
// one stream that all ranks share and whose order is that of the calls made here.
class Mover {
 public:
  explicit Mover(Device device) : scratch_(device, "results of exchanges between threads") {}
  virtual ~Mover() = default;
  // What is moved from now on comes after the work already in the rank's stream.
  virtual void after(Stream& rank) = 0;
  // Work queued in the rank's stream from now on comes after all that was moved so far.
  virtual void before(Stream& rank) = 0;
  virtual void copy(void* to, const void* from, int64_t bytes) = 0;
  virtual void poison(void* to, int64_t bytes) = 0;  // with NaN
  virtual void reduce(std::span<const void* const> parts, void* out, int64_t count, DType dtype,
                      ReduceOp op) = 0;
  // Blocks given back are used by what is moved later; they stay until the end.
  Memory take(int64_t bytes) { return scratch_.take(bytes); }
  void give_back(Memory block) { scratch_.give_back(std::move(block)); }

 private:
  ScratchPool scratch_;
};

std::unique_ptr<Mover> make_mover(Device device);

}  // namespace switchyard
