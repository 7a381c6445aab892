#include "core/error.h"
#include "core/ops/backends.h"

namespace switchyard::ops {

void cuda::activation_forward(const Context&, Activation, const Tensor&, const Tensor&) {
  throw_error("activation_forward", "not yet on cuda");
}
void cuda::activation_backward(const Context&, Activation, const Tensor&, const Tensor&,
                               const Tensor&) {
  throw_error("activation_backward", "not yet on cuda");
}

}  // namespace switchyard::ops
