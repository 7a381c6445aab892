#pragma once

#include <cstdint>

#include "core/ops/matmul/product.h"

namespace switchyard::ops {

// What holds for every product of the process on a GPU; the CPU's products take nothing from here.
struct MatmulSettings {
  // Products of f32 in TF32 (10 bits of fraction, fp32 accumulation).
  bool allow_tf32 = false;
  // The most that one product takes of its context's scratch, for split-K above all: from 0 to
  // 256 MiB.
  int64_t workspace_bytes = int64_t{64} << 20;
  // Off: what follows a product is done by kernels of its own, whatever cuBLASLt could fuse.
  bool fuse = true;
};

MatmulSettings matmul_settings();
// Before the first step: choices made for other settings are dropped. Throws Error for a workspace
// out of range.
void set_matmul_settings(const MatmulSettings& settings);
void set_allow_tf32(bool allow);
// A product as a call has it now: in TF32 where that is allowed.
MatmulProduct under_settings(MatmulProduct product);

}  // namespace switchyard::ops
