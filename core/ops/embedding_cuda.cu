#include "core/error.h"
#include "core/ops/backends.h"

namespace switchyard::ops {

void cuda::embedding_forward(const Context&, const Tensor&, const Tensor&, int64_t, const Tensor&) {
  throw_error("embedding_forward", "not yet on cuda");
}
void cuda::embedding_backward(const Context&, const Tensor&, const Tensor&, int64_t,
                              const Tensor&) {
  throw_error("embedding_backward", "not yet on cuda");
}

}  // namespace switchyard::ops
