#include "core/error.h"
#include "core/ops/backends.h"

namespace switchyard::ops {

void cuda::attention_forward(const Context&, const Tensor&, const Tensor&, const Tensor&,
                             const Tensor&, const Tensor&, const AttentionOptions&) {
  throw_error("attention_forward", "not yet on cuda");
}
void cuda::attention_backward(const Context&, const AttentionBackward&, const AttentionOptions&) {
  throw_error("attention_backward", "not yet on cuda");
}

}  // namespace switchyard::ops
