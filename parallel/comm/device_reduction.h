#pragma once

#include <span>

#include "core/device.h"
#include "core/dtype.h"
#include "parallel/comm/reduce_op.h"

namespace switchyard {

inline constexpr int most_reduced_parts = 64;

// What reduce_on_host does, as work of a stream on a GPU, with the same bits: parts in their order,
// 16-bit types in f32 and rounded once. out may be one of the parts, of which there are at most
// most_reduced_parts.
void reduce_on_device(std::span<const void* const> parts, void* out, int64_t count, DType dtype,
                      ReduceOp op, Stream& stream);

// Fills memory with bytes 0xff, which are NaN in every floating dtype.
void poison_on_device(void* to, int64_t bytes, Stream& stream);

}  // namespace switchyard
