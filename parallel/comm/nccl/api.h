#pragma once

#include <nccl.h>

#include <string>

#include "core/dtype.h"
#include "core/error.h"
#include "parallel/comm/reduce_op.h"

// Inside of the nccl backend: what its files share of NCCL's own words.
namespace switchyard {

// A communicator that does not block answers "in progress", which is no error.
inline bool is_failure(ncclResult_t result) {
  return result != ncclSuccess && result != ncclInProgress;
}

// What the code says, and behind it NCCL's last warning in this process, which names the cause but
// may be an older one.
inline std::string nccl_error(ncclResult_t result) {
  const std::string last = ncclGetLastError(nullptr);
  const std::string text = ncclGetErrorString(result);
  return last.empty() ? text : fmt::format("{}; its last warning: {}", text, last);
}

inline ExitCode code_of(ncclResult_t result) {
  const bool lost = result == ncclSystemError || result == ncclRemoteError;
  return lost ? ExitCode::lost_peer : default_code();
}

inline void check_nccl(ncclResult_t result, const char* call) {
  check(!is_failure(result), code_of(result), "nccl", "{} failed: {}", call, nccl_error(result));
}

inline ncclRedOp_t native(ReduceOp op) { return op == ReduceOp::sum ? ncclSum : ncclMax; }

inline ncclDataType_t native(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return ncclFloat32;
    case DType::bf16:
      return ncclBfloat16;
    case DType::f16:
      return ncclFloat16;
    case DType::f64:
      return ncclFloat64;
    case DType::i32:
      return ncclInt32;
    case DType::i64:
      return ncclInt64;
    case DType::u8:
      return ncclUint8;
    case DType::u16:
      break;
  }
  fail("nccl", "NCCL does not reduce {}; such elements can be moved only", name_of(dtype));
}

}  // namespace switchyard
