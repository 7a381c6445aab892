#pragma once

#include "core/ops/norm/norm.h"

namespace switchyard::ops {

// Private to the norm's CPU backend: parameters [hidden] widened to f32, null where there is none.
struct NormParameters {
  const float* weight = nullptr;
  const float* shift = nullptr;
  const float* bias = nullptr;
};

// Where a block of rows adds its part of the parameters' gradients [hidden]; null where not wanted.
struct NormPartials {
  float* dweight = nullptr;
  float* dshift = nullptr;
  float* dbias = nullptr;
};

}  // namespace switchyard::ops
