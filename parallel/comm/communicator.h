#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "core/device.h"
#include "core/dtype.h"
#include "core/tensor.h"
#include "parallel/comm/reduce_op.h"

namespace switchyard {

// Elements of one type in a row: what communication moves.
struct Buffer {
  void* data = nullptr;
  int64_t count = 0;  // elements
  DType dtype = DType::f32;
  Device device = Device::cpu;

  Buffer() = default;
  Buffer(const Tensor& tensor);  // NOLINT(google-explicit-constructor): contiguous, else throws
  template <class T>
  Buffer(std::span<T> elements)  // NOLINT(google-explicit-constructor)
      : data(elements.data()), count(static_cast<int64_t>(elements.size())), dtype(dtype_of<T>) {}
  int64_t bytes() const { return count * size_of(dtype); }
};

// An operation under way. Its buffers belong to the communicator until wait() has returned.
class Handle {
 public:
  class Work {
   public:
    virtual ~Work() = default;
    virtual void wait(Stream& stream) = 0;
  };
  Handle() = default;  // nothing under way
  explicit Handle(std::shared_ptr<Work> work) : work_(std::move(work)) {}
  // Work queued on `stream` afterwards sees the result. Throws Error naming rank, group, operation,
  // label and step when the operation failed or ran out of time. A second wait does nothing.
  void wait(Stream& stream);
  explicit operator bool() const { return work_ != nullptr; }

 private:
  std::shared_ptr<Work> work_;
};

class ControlPlane;

// What an operation is for; printed when it fails or hangs, together with group, rank and step.
struct Label {
  std::string_view what;  // a literal, such as "all-gather of weights"
};

// The step that this thread's operations belong to; printed in their errors.
void set_current_step(int64_t step);
int64_t current_step();

// A group of ranks. All members call the same operations in the same order; sends and receives
// between two ranks match in order. Every operation starts after the work already in `stream`,
// returns at once and is finished by its handle's wait. Buffers lie in host memory or, where the
// backend says so, on the GPU of `stream`; a handle's wait then makes a stream wait, not the host.
// Sums of bf16 are rounded once, at the end, except by NCCL.
// Results are the same bits on every rank and every time. Errors (counts that do not fit, unknown
// peers, a lost rank, the timeout) are thrown as Error, on the call or on wait.
class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual const std::string& name() const = 0;  // "world", "tp", "dp", ...

  virtual Handle all_reduce(Buffer inout, ReduceOp op, Stream& stream, Label label) = 0;
  // in.count == size * out.count; out may be this rank's own part of in.
  virtual Handle reduce_scatter(Buffer in, Buffer out, ReduceOp op, Stream& stream,
                                Label label) = 0;
  // out.count == size * in.count; in may be this rank's own part of out.
  virtual Handle all_gather(Buffer in, Buffer out, Stream& stream, Label label) = 0;
  // Part j of in goes to rank j; part i of out comes from rank i.
  virtual Handle all_to_all(Buffer in, Buffer out, Stream& stream, Label label) = 0;
  virtual Handle broadcast(Buffer inout, int root, Stream& stream, Label label) = 0;
  virtual Handle send(Buffer buffer, int peer, Stream& stream, Label label) = 0;
  virtual Handle recv(Buffer buffer, int peer, Stream& stream, Label label) = 0;
  virtual void barrier(Label label) = 0;
  // Operations between the two calls start together (NCCL's groups); they may be nothing.
  virtual void group_begin() {}
  virtual void group_end() {}
  // Gives each (sender, receiver) pair an order of its own; collective, with the same pairs on
  // every rank. Without it a send or receive may hold up all later operations of its rank in this
  // group until the peer has joined in, as in NCCL, where such messages must be grouped. With it a
  // second message of a pair may still hold up everything that its rank queues later on the GPU
  // until the first has ended: the host should post one at most before what the peer waits for.
  virtual void open_channels(std::span<const std::pair<int, int>>) {}

  // The members that give the same color, ordered by key (then by rank); collective. A negative
  // color takes part in no group and gets nullptr.
  virtual std::unique_ptr<Communicator> split(int color, int key, std::string name) = 0;
  // What the ranks' hosts agree through; a world's alone, Error in groups that were split off.
  virtual ControlPlane& control();
};

}  // namespace switchyard
