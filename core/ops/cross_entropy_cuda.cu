#include "core/error.h"
#include "core/ops/backends.h"

namespace switchyard::ops {

void cuda::cross_entropy_statistics(const Context&, const Tensor&, const Tensor&,
                                    const VocabularyPart&, const Tensor&) {
  throw_error("cross_entropy_statistics", "not yet on cuda");
}
void cuda::cross_entropy_combine(const Context&, const Tensor&, const Tensor&, const Tensor&,
                                 const Tensor&) {
  throw_error("cross_entropy_combine", "not yet on cuda");
}
void cuda::cross_entropy_gradient(const Context&, const Tensor&, const Tensor&,
                                  const VocabularyPart&, const Tensor&, const GradientScale&) {
  throw_error("cross_entropy_gradient", "not yet on cuda");
}
void cuda::cross_entropy(const Context&, const Tensor&, const Tensor&, const VocabularyPart&,
                         const Tensor&, const GradientScale&) {
  throw_error("cross_entropy", "not yet on cuda");
}

}  // namespace switchyard::ops
