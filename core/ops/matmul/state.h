#pragma once

#include <memory>

#include "core/ops/matmul/settings.h"
#include "core/ops/matmul/tuning.h"

// Private to core/ops: what settings.h and tuning.h set for the whole process.
namespace switchyard::ops {

struct MatmulState {
  bool allow_tf32 = false;
  // Off: what follows a product is done by kernels of its own, whatever cuBLASLt could fuse.
  bool fuse = true;
  std::shared_ptr<const MatmulTuning> table;  // null: none
};
MatmulState matmul_state();
void set_matmul_fusion(bool fuse);  // for tests, which compare both
// Counts changes of the state, so that prepared products of an older one are dropped.
uint64_t matmul_state_generation();

}  // namespace switchyard::ops
