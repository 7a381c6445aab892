#include "core/ops/dropout.h"

#include "core/ops/backends.h"
#include "core/ops/checks.h"

namespace switchyard::ops {

void check_dropout(std::string_view where, const Dropout& options, int64_t rows, Device device) {
  check(options.probability >= 0 && options.probability < 1, where,
        "a dropout probability of {} was given; 0 <= p < 1 is allowed", options.probability);
  if (options.probability == 0) return;
  check_dtype(where, "row_ids", options.row_ids, {DType::i64});
  check_shape(where, "row_ids", options.row_ids, {rows});
  check_contiguous(where, "row_ids", options.row_ids);
  check_device(where, "row_ids", options.row_ids, device);
}

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
