#include "parallel/host_communicator.h"

#include "core/error.h"

namespace switchyard {

std::string_view name_of(OperationKind kind) {
  switch (kind) {
    case OperationKind::all_reduce:
      return "all_reduce";
    case OperationKind::reduce_scatter:
      return "reduce_scatter";
    case OperationKind::all_gather:
      return "all_gather";
    case OperationKind::all_to_all:
      return "all_to_all";
    case OperationKind::broadcast:
      return "broadcast";
    case OperationKind::send:
      return "send";
    case OperationKind::recv:
      return "recv";
    case OperationKind::barrier:
      return "barrier";
    case OperationKind::split:
      return "split";
  }
  return "unknown operation";
}

std::string describe(const Operation& o) {
  std::string text{name_of(o.kind)};
  if (o.kind == OperationKind::all_reduce || o.kind == OperationKind::reduce_scatter)
    text += o.reduce == ReduceOp::sum ? " (sum)" : " (max)";
  const Buffer& buffer = o.in.count != 0 || o.out.data == nullptr ? o.in : o.out;
  if (o.kind < OperationKind::barrier)
    text += fmt::format(" of {} {}", buffer.count, name_of(buffer.dtype));
  if (o.kind == OperationKind::send) text += fmt::format(" to rank {}", o.peer);
  if (o.kind == OperationKind::recv) text += fmt::format(" from rank {}", o.peer);
  if (o.kind == OperationKind::broadcast) text += fmt::format(" from root {}", o.peer);
  return text + fmt::format(", \"{}\", step {}", o.what, o.step);
}

std::string describe(const Member& m) {
  return fmt::format("rank {} of {} in {} (world rank {})", m.rank, m.size, m.group, m.world_rank);
}

void fail_operation(const Member& self, const Operation& operation, const std::string& why) {
  fail("communicator", "{}: {}: {}", describe(self), describe(operation), why);
}

void HostCommunicator::refuse(const Operation& operation, const std::string& why) const {
  fail_operation(self_, operation, why);
}

void HostCommunicator::check_buffer(const Operation& operation, const Buffer& buffer) const {
  if (buffer.device != Device::cpu)
    refuse(operation, fmt::format("a buffer on {} was given; this group moves host memory only",
                                  name_of(buffer.device)));
  if (buffer.count < 0 || (buffer.count > 0 && buffer.data == nullptr))
    refuse(operation,
           fmt::format("a buffer of {} elements at {} is no buffer", buffer.count, buffer.data));
}

void HostCommunicator::check_counts(const Operation& operation, int64_t whole, int64_t part) const {
  if (operation.in.dtype != operation.out.dtype)
    refuse(operation, fmt::format("in is {} and out is {}; they must agree",
                                  name_of(operation.in.dtype), name_of(operation.out.dtype)));
  if (whole != part * self_.size)
    refuse(operation, fmt::format("in has {} elements and out {}; one must be {} (the group's "
                                  "size) times the other",
                                  operation.in.count, operation.out.count, self_.size));
}

void HostCommunicator::check_overlap(const Operation& operation, const Buffer& whole,
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

void HostCommunicator::check_peer(const Operation& operation) const {
  if (operation.peer < 0 || operation.peer >= self_.size)
    refuse(operation,
           fmt::format("there is no rank {}; ranks are 0 ... {}", operation.peer, self_.size - 1));
}

Handle HostCommunicator::begin(Operation operation, Label label) {
  operation.what = label.what;
  operation.step = current_step();
  check_buffer(operation, operation.in);
  check_buffer(operation, operation.out);
  switch (operation.kind) {
    case OperationKind::reduce_scatter:
      check_counts(operation, operation.in.count, operation.out.count);
      check_overlap(operation, operation.in, operation.out, true);
      break;
    case OperationKind::all_gather:
      check_counts(operation, operation.out.count, operation.in.count);
      check_overlap(operation, operation.out, operation.in, true);
      break;
    case OperationKind::all_to_all:
      if (operation.in.dtype != operation.out.dtype || operation.in.count != operation.out.count ||
          operation.in.count % self_.size != 0)
        refuse(operation,
               fmt::format("in has {} {} and out {} {}; they must agree and be a multiple of {}",
                           operation.in.count, name_of(operation.in.dtype), operation.out.count,
                           name_of(operation.out.dtype), self_.size));
      check_overlap(operation, operation.in, operation.out, false);
      break;
    case OperationKind::broadcast:
    case OperationKind::send:
    case OperationKind::recv:
      check_peer(operation);
      break;
    default:
      break;
  }
  return start(operation);
}

Handle HostCommunicator::all_reduce(Buffer inout, ReduceOp op, Stream&, Label label) {
  return begin({.kind = OperationKind::all_reduce, .in = inout, .out = inout, .reduce = op}, label);
}

Handle HostCommunicator::reduce_scatter(Buffer in, Buffer out, ReduceOp op, Stream&, Label label) {
  return begin({.kind = OperationKind::reduce_scatter, .in = in, .out = out, .reduce = op}, label);
}

Handle HostCommunicator::all_gather(Buffer in, Buffer out, Stream&, Label label) {
  return begin({.kind = OperationKind::all_gather, .in = in, .out = out}, label);
}

Handle HostCommunicator::all_to_all(Buffer in, Buffer out, Stream&, Label label) {
  return begin({.kind = OperationKind::all_to_all, .in = in, .out = out}, label);
}

Handle HostCommunicator::broadcast(Buffer inout, int root, Stream&, Label label) {
  return begin({.kind = OperationKind::broadcast, .in = inout, .out = inout, .peer = root}, label);
}

Handle HostCommunicator::send(Buffer buffer, int peer, Stream&, Label label) {
  return begin({.kind = OperationKind::send, .in = buffer, .peer = peer}, label);
}

Handle HostCommunicator::recv(Buffer buffer, int peer, Stream&, Label label) {
  return begin({.kind = OperationKind::recv, .out = buffer, .peer = peer}, label);
}

void HostCommunicator::barrier(Label label) {
  Stream stream;
  begin({.kind = OperationKind::barrier}, label).wait(stream);
}

}  // namespace switchyard
