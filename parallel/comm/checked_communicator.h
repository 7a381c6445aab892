#pragma once

#include <memory>
#include <string>

#include "parallel/comm/control_plane.h"
#include "parallel/comm/operation.h"

namespace switchyard {

// What all communicators have in common: arguments are checked here once, and each backend starts
// one kind of thing, an Operation.
class CheckedCommunicator : public Communicator {
 public:
  explicit CheckedCommunicator(Member self) : self_(std::move(self)) {}
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
  ControlPlane& control() final;
  void set_control(std::shared_ptr<ControlPlane> control) { control_ = std::move(control); }

 protected:
  const Member& self() const { return self_; }
  // Whether buffers may lie there; host memory always may.
  virtual bool moves(Device device) const { return device == Device::cpu; }
  // The buffers lie on one device, which is also the stream's; for buffers in host memory the host
  // has waited for the stream.
  virtual Handle start(const Operation& operation, Stream& stream) = 0;

 private:
  Handle begin(Operation operation, Stream& stream, Label label);
  [[noreturn]] void refuse(const Operation& operation, const std::string& why) const;
  void check_buffer(const Operation& operation, const Buffer& buffer) const;
  void check_arguments(const Operation& operation) const;
  void check_devices(const Operation& operation, Stream& stream) const;
  void check_overlap(const Operation& operation, const Buffer& whole, const Buffer& part,
                     bool own_part_allowed) const;
  void check_peer(const Operation& operation) const;
  void check_counts(const Operation& operation, int64_t whole, int64_t part) const;

  Member self_;
  std::shared_ptr<ControlPlane> control_;  // of a world
};

// The group of one rank that split() makes; its buffers may lie on any device.
std::unique_ptr<Communicator> make_self_communicator(std::string name, int world_rank);

}  // namespace switchyard
