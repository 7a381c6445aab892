#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "parallel/communicator.h"

// What the communicators in host memory (self, thread, mpi) have in common: arguments are checked
// here once, and each backend starts one kind of thing, an Operation.
namespace switchyard {

enum class OperationKind : uint8_t {
  all_reduce,
  reduce_scatter,
  all_gather,
  all_to_all,
  broadcast,
  send,
  recv,
  barrier,
  split,
};
std::string_view name_of(OperationKind kind);
inline bool is_point_to_point(OperationKind kind) {
  return kind == OperationKind::send || kind == OperationKind::recv;
}

// A call as it was made. Operations in place have the same buffer as in and out; a send has no out,
// a recv no in, a broadcast's root reads in and the others fill out.
struct Operation {
  OperationKind kind = OperationKind::barrier;
  Buffer in{};
  Buffer out{};
  ReduceOp reduce = ReduceOp::sum;
  int peer = -1;  // of send and recv; root of broadcast
  std::string_view what{};
  int64_t step = 0;
};
std::string describe(const Operation& operation);  // all_reduce (sum) of 16 f32, "losses", step 3

// A rank within a group.
struct Member {
  int rank = 0;
  int size = 1;
  int world_rank = 0;
  std::string group{};
};
std::string describe(const Member& member);  // rank 1 of 2 in dp (world rank 3)

class HostCommunicator : public Communicator {
 public:
  explicit HostCommunicator(Member self) : self_(std::move(self)) {}
  int rank() const final { return self_.rank; }
  int size() const final { return self_.size; }
  const std::string& name() const final { return self_.group; }

  Handle all_reduce(Buffer inout, ReduceOp op, Stream& stream, Label label) final;
  Handle reduce_scatter(Buffer in, Buffer out, ReduceOp op, Stream& stream, Label label) final;
  Handle all_gather(Buffer in, Buffer out, Stream& stream, Label label) final;
  Handle all_to_all(Buffer in, Buffer out, Stream& stream, Label label) final;
  Handle broadcast(Buffer inout, int root, Stream& stream, Label label) final;
  Handle send(Buffer buffer, int peer, Stream& stream, Label label) final;
  Handle recv(Buffer buffer, int peer, Stream& stream, Label label) final;
  void barrier(Label label) final;

 protected:
  const Member& self() const { return self_; }
  virtual Handle start(const Operation& operation) = 0;

 private:
  Handle begin(Operation operation, Label label);
  [[noreturn]] void refuse(const Operation& operation, const std::string& why) const;
  void check_buffer(const Operation& operation, const Buffer& buffer) const;
  void check_overlap(const Operation& operation, const Buffer& whole, const Buffer& part,
                     bool own_part_allowed) const;
  void check_peer(const Operation& operation) const;
  void check_counts(const Operation& operation, int64_t whole, int64_t part) const;

  Member self_;
};

// Throws the Error for `self` and `operation`, with what went wrong.
[[noreturn]] void fail_operation(const Member& self, const Operation& operation,
                                 const std::string& why);

// The group of one rank that split() makes.
std::unique_ptr<Communicator> make_self_communicator(std::string name, int world_rank);

}  // namespace switchyard
