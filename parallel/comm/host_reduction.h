#pragma once

#include <span>

#include "parallel/comm/communicator.h"

namespace switchyard {

// out[i] = parts[0][i] + parts[1][i] + ... (or their maximum), always in that order: f32 and f64 in
// their own precision, bf16 in f32 and rounded once, integers modulo 2^bits. out may be one of the
// parts. A maximum with a NaN among its parts is NaN.
void reduce_on_host(std::span<const void* const> parts, void* out, int64_t count, DType dtype,
                    ReduceOp op);

}  // namespace switchyard
