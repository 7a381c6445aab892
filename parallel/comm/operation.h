#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "parallel/comm/communicator.h"

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

  Device device() const { return in.data != nullptr ? in.device : out.device; }
};
std::string describe(const Operation& operation);  // all_reduce (sum) of 16 f32, "losses", step 3

// A rank within a group.
struct Member {
  int rank = 0;
  int size = 1;
  int world_rank = 0;
  std::string group{};
  std::vector<int> world_ranks{};  // of the group's ranks, in their order; empty: as they are
};
std::string describe(const Member& member);  // rank 1 of 2 in dp (world rank 3 on n2)

// Throws the Error for `self` and `operation`, with what went wrong. A lost peer and a timeout
// leave this rank's stacks (core/fault_report.h).
[[noreturn]] void fail_operation(const Member& self, const Operation& operation,
                                 const std::string& why, ExitCode code = default_code());

}  // namespace switchyard
