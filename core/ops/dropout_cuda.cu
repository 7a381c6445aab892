#include "core/error.h"
#include "core/ops/backends.h"

namespace switchyard::ops {

void cuda::dropout(const Context&, const Tensor&, const Tensor&, const Dropout&) {
  throw_error("dropout", "not yet on cuda");
}

}  // namespace switchyard::ops
