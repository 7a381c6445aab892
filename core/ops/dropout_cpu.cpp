#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/ops/dropout_cpu.cpp"
#include "core/ops/highway.h"
// Keep this order.
#include <hwy/foreach_target.h>

#include "core/ops/dropout-inl.h"

HWY_BEFORE_NAMESPACE();
namespace switchyard::ops {
namespace HWY_NAMESPACE {
namespace {

template <class T>
void dropout_rows_as(const Tensor& x, const Tensor& y, const Dropout& options, int64_t begin,
                     int64_t end) {
  const auto columns = static_cast<size_t>(x.shape[1]);
  for (auto row = static_cast<size_t>(begin); row < static_cast<size_t>(end); ++row) {
    const T* from = x.as<T>() + row * columns;
    T* to = y.as<T>() + row * columns;
    for_masked_vectors(options, row, columns, [&](size_t i, auto part, auto mask) HWY_ATTR {
      store(mask(load(from + i, part)), to + i, part);
    });
  }
}

void dropout_rows(const Tensor& x, const Tensor& y, const Dropout& options, int64_t begin,
                  int64_t end) {
  if (x.dtype == DType::f32) {
    dropout_rows_as<float>(x, y, options, begin, end);
  } else {
    dropout_rows_as<bf16>(x, y, options, begin, end);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace switchyard::ops
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "core/ops/backends.h"
#include "core/ops/parallel_blocks.h"

namespace switchyard::ops {
HWY_EXPORT(dropout_rows);

void cpu::dropout(const Context&, const Tensor& x, const Tensor& y, const Dropout& options) {
  if (options.probability == 0 && x.data == y.data) return;
  parallel_blocks(x.shape[0], 16, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(dropout_rows)(x, y, options, begin, end);
  });
}

}  // namespace switchyard::ops
#endif  // HWY_ONCE
