#include "core/ops/dropout.h"

#include "core/ops/backends.h"
#include "core/ops/dropout_checks.h"

namespace switchyard::ops {

void dropout(const Context& context, const Tensor& x, const Tensor& y, const Dropout& options) {
  constexpr std::string_view where = "dropout";
  check_rank(where, "x", x, 2);
  check_floating(where, "x", x);
  check_contiguous(where, "x", x);
  check_dtype(where, "y", y, {x.dtype});
  check_shape(where, "y", y, x.shape);
  check_contiguous(where, "y", y);
  check_device(where, "y", y, x.device);
  check_dropout(where, options, x.shape[0], x.device);
  on_device(x.device, cpu::dropout, cuda::dropout)(context, x, y, options);
}

}  // namespace switchyard::ops
