#pragma once

#include <cstdint>

#include "core/ops/matmul/product.h"

namespace switchyard::ops {

// What holds for every product of the process on a GPU; the CPU's products take nothing from here.

// The most that one product takes of its context's scratch, for split-K above all.
inline constexpr int64_t matmul_workspace_bytes = int64_t{64} << 20;
// Products of f32 in TF32 (10 bits of fraction, fp32 accumulation); off at first. Before the first
// step: choices made for the other setting are dropped.
void set_allow_tf32(bool allow);
// A product as a call has it now: in TF32 where that is allowed.
MatmulProduct under_settings(MatmulProduct product);

}  // namespace switchyard::ops
