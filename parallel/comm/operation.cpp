#include "parallel/comm/operation.h"

#include <array>

#include "core/error.h"
#include "parallel/comm/inquiry.h"
#include "parallel/comm/rank_activity.h"
#include "parallel/comm/rank_places.h"

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
  const std::array<int, 1> world_rank{m.world_rank};
  return fmt::format("rank {} of {} in {} ({})", m.rank, m.size, m.group,
                     describe_ranks(world_rank));
}

void fail_operation(const Member& self, const Operation& operation, const std::string& why,
                    ExitCode code) {
  std::string text = fmt::format("{}: {}: {}", describe(self), describe(operation), why);
  if (code == ExitCode::lost_peer || code == ExitCode::timed_out) {
    const OpenWait failing(text, {});  // who asks meanwhile is told this
    report_end(code, text);
  }
  throw_error(code, "communicator", text);
}

}  // namespace switchyard
