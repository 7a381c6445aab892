#include "core/error.h"
#include "core/ops/backends.h"

namespace switchyard::ops {

void cuda::adamw(const Context&, const AdamWTensors&, const Tensor&, const AdamWOptions&) {
  throw_error("adamw", "not yet on cuda");
}

}  // namespace switchyard::ops
