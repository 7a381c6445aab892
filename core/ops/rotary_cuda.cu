#include "core/error.h"
#include "core/ops/backends.h"

namespace switchyard::ops {

void cuda::rotary_table(const Tensor&, int64_t, double) { throw_error("rotary_table", "not yet on cuda"); }
void cuda::rotary(const Context&, const Tensor&, const Tensor&, const Tensor&, bool) {
  throw_error("rotary", "not yet on cuda");
}

}  // namespace switchyard::ops
