#include "core/error.h"
#include "core/ops/backends.h"

namespace switchyard::ops {

void cuda::matmul(const Context&, const Tensor&, const Tensor&, const Tensor&,
                  const MatmulOptions&) {
  throw_error("matmul", "not yet on cuda");
}

}  // namespace switchyard::ops
