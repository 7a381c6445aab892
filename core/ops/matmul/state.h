#pragma once

#include <memory>

#include "core/ops/matmul/settings.h"
#include "core/ops/matmul/tuning.h"

// Private to core/ops: what settings.h and tuning.h set for the whole process.
namespace switchyard::ops {

struct MatmulState {
  MatmulSettings settings;
  std::shared_ptr<const MatmulTuning> table;  // null: none
};
MatmulState matmul_state();
// Counts changes of the state, so that prepared products of an older one are dropped.
uint64_t matmul_state_generation();

}  // namespace switchyard::ops
