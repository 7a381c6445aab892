#include "parallel/comm/checked_communicator.h"

#include "core/error.h"
#include "parallel/comm/rank_activity.h"

namespace switchyard {

void CheckedCommunicator::refuse(const Operation& operation, const std::string& why) const {
  fail_operation(self_, operation, why);
}

void CheckedCommunicator::check_buffer(const Operation& operation, const Buffer& buffer) const {
  if (!moves(buffer.device))
    refuse(operation, fmt::format("a buffer on {} was given; this group moves host memory only",
                                  name_of(buffer.device)));
  if (buffer.count < 0 || (buffer.count > 0 && buffer.data == nullptr))
    refuse(operation,
           fmt::format("a buffer of {} elements at {} is no buffer", buffer.count, buffer.data));
}

void CheckedCommunicator::check_counts(const Operation& operation, int64_t whole,
                                       int64_t part) const {
  if (operation.in.dtype != operation.out.dtype)
    refuse(operation, fmt::format("in is {} and out is {}; they must agree",
                                  name_of(operation.in.dtype), name_of(operation.out.dtype)));
  if (whole != part * self_.size)
    refuse(operation, fmt::format("in has {} elements and out {}; one must be {} (the group's "
                                  "size) times the other",
                                  operation.in.count, operation.out.count, self_.size));
}

void CheckedCommunicator::check_overlap(const Operation& operation, const Buffer& whole,
                                        const Buffer& part, bool own_part_allowed) const {
  const auto* whole_begin = static_cast<const std::byte*>(whole.data);
  const auto* part_begin = static_cast<const std::byte*>(part.data);
  if (whole.bytes() == 0 || part.bytes() == 0) return;
  if (own_part_allowed && part_begin == whole_begin + self_.rank * part.bytes()) return;
  const bool apart =
      part_begin + part.bytes() <= whole_begin || whole_begin + whole.bytes() <= part_begin;
  if (!apart)
    refuse(operation, own_part_allowed
                          ? "in and out overlap; only this rank's own part may be shared"
                          : "in and out overlap; they must be apart");
}

void CheckedCommunicator::check_peer(const Operation& operation) const {
  if (operation.peer < 0 || operation.peer >= self_.size)
    refuse(operation,
           fmt::format("there is no rank {}; ranks are 0 ... {}", operation.peer, self_.size - 1));
}

void CheckedCommunicator::check_devices(const Operation& operation, Stream& stream) const {
  const Buffer &in = operation.in, &out = operation.out;
  if (in.data != nullptr && out.data != nullptr && in.device != out.device)
    refuse(operation, fmt::format("in lies on {} and out on {}; they must agree",
                                  name_of(in.device), name_of(out.device)));
  if (operation.device() == Device::cuda && stream.device() != Device::cuda)
    refuse(operation, "a buffer on cuda with a stream on cpu; a stream on cuda is needed");
}

void CheckedCommunicator::check_arguments(const Operation& operation) const {
  switch (operation.kind) {
    case OperationKind::reduce_scatter:
      check_counts(operation, operation.in.count, operation.out.count);
      return check_overlap(operation, operation.in, operation.out, true);
    case OperationKind::all_gather:
      check_counts(operation, operation.out.count, operation.in.count);
      return check_overlap(operation, operation.out, operation.in, true);
    case OperationKind::all_to_all:
      if (operation.in.dtype != operation.out.dtype || operation.in.count != operation.out.count ||
          operation.in.count % self_.size != 0)
        refuse(operation,
               fmt::format("in has {} {} and out {} {}; they must agree and be a multiple of {}",
                           operation.in.count, name_of(operation.in.dtype), operation.out.count,
                           name_of(operation.out.dtype), self_.size));
      return check_overlap(operation, operation.in, operation.out, false);
    case OperationKind::broadcast:
    case OperationKind::send:
    case OperationKind::recv:
      return check_peer(operation);
    default:
      return;
  }
}

Handle CheckedCommunicator::begin(Operation operation, Stream& stream, Label label) {
  operation.what = label.what;
  operation.step = current_step();
  note_operation(operation.step);
  check_buffer(operation, operation.in);
  check_buffer(operation, operation.out);
  check_arguments(operation);
  check_devices(operation, stream);
  // Host memory is read and written by the host, which knows no order of streams.
  if (operation.device() == Device::cpu) stream.synchronize();
  return start(operation, stream);
}

Handle CheckedCommunicator::all_reduce(Buffer inout, ReduceOp op, Stream& stream, Label label) {
  return begin({.kind = OperationKind::all_reduce, .in = inout, .out = inout, .reduce = op}, stream,
               label);
}

Handle CheckedCommunicator::reduce_scatter(Buffer in, Buffer out, ReduceOp op, Stream& stream,
                                           Label label) {
  return begin({.kind = OperationKind::reduce_scatter, .in = in, .out = out, .reduce = op}, stream,
               label);
}

Handle CheckedCommunicator::all_gather(Buffer in, Buffer out, Stream& stream, Label label) {
  return begin({.kind = OperationKind::all_gather, .in = in, .out = out}, stream, label);
}

Handle CheckedCommunicator::all_to_all(Buffer in, Buffer out, Stream& stream, Label label) {
  return begin({.kind = OperationKind::all_to_all, .in = in, .out = out}, stream, label);
}

Handle CheckedCommunicator::broadcast(Buffer inout, int root, Stream& stream, Label label) {
  return begin({.kind = OperationKind::broadcast, .in = inout, .out = inout, .peer = root}, stream,
               label);
}

Handle CheckedCommunicator::send(Buffer buffer, int peer, Stream& stream, Label label) {
  return begin({.kind = OperationKind::send, .in = buffer, .peer = peer}, stream, label);
}

Handle CheckedCommunicator::recv(Buffer buffer, int peer, Stream& stream, Label label) {
  return begin({.kind = OperationKind::recv, .out = buffer, .peer = peer}, stream, label);
}

ControlPlane& CheckedCommunicator::control() {
  return control_ ? *control_ : Communicator::control();
}

void CheckedCommunicator::barrier(Label label) {
  Stream stream;
  begin({.kind = OperationKind::barrier}, stream, label).wait(stream);
}

}  // namespace switchyard
