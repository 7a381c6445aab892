#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/ops/elementwise_cpu.cpp"
#include "core/ops/highway.h"
// Keep this order.
#include <hwy/foreach_target.h>

#include <algorithm>

#include "core/ops/vector-inl.h"
#include "core/tensor.h"

HWY_BEFORE_NAMESPACE();
namespace switchyard::ops {
namespace HWY_NAMESPACE {

using HalfFloatTag = hn::Rebind<hwy::float16_t, FloatTag>;

HWY_INLINE Float load(const f16* p, All) {
  return hn::PromoteTo(FloatTag(),
                       hn::LoadU(HalfFloatTag(), reinterpret_cast<const hwy::float16_t*>(p)));
}
HWY_INLINE void store(Float v, f16* p, All) {
  hn::StoreU(hn::DemoteTo(HalfFloatTag(), v), HalfFloatTag(), reinterpret_cast<hwy::float16_t*>(p));
}

namespace {

// Each works on the elements [begin, end) of contiguous tensors.

template <class T>
void fill_as(T* x, size_t count, float value) {
  for_vectors(count, [&](size_t i, auto part) HWY_ATTR { store(constant(value), x + i, part); });
}

template <class From, class To>
void cast_as(const From* from, To* to, size_t count) {
  for_vectors(count,
              [&](size_t i, auto part) HWY_ATTR { store(load(from + i, part), to + i, part); });
}

template <class T>
void add_as(const T* x, const T* y, T* sum, size_t count) {
  for_vectors(count, [&](size_t i, auto part) HWY_ATTR {
    store(hn::Add(load(x + i, part), load(y + i, part)), sum + i, part);
  });
}

void fill_range(const Tensor& x, float value, int64_t begin, int64_t end) {
  const auto count = static_cast<size_t>(end - begin);
  if (x.dtype == DType::f64) {
    std::fill_n(x.as<double>() + begin, count, static_cast<double>(value));
  } else if (x.dtype == DType::f32) {
    fill_as(x.as<float>() + begin, count, value);
  } else {
    fill_as(x.as<bf16>() + begin, count, value);
  }
}

template <class From>
void cast_range_from(const From* from, const Tensor& to, int64_t begin, size_t count) {
  if (to.dtype == DType::f32) {
    cast_as(from, to.as<float>() + begin, count);
  } else if (to.dtype == DType::bf16) {
    cast_as(from, to.as<bf16>() + begin, count);
  } else {
    cast_as(from, to.as<f16>() + begin, count);
  }
}

void cast_range(const Tensor& from, const Tensor& to, int64_t begin, int64_t end) {
  const auto count = static_cast<size_t>(end - begin);
  if (from.dtype == DType::f32) {
    cast_range_from(from.as<float>() + begin, to, begin, count);
  } else if (from.dtype == DType::bf16) {
    cast_range_from(from.as<bf16>() + begin, to, begin, count);
  } else {
    cast_range_from(from.as<f16>() + begin, to, begin, count);
  }
}

void add_range(const Tensor& x, const Tensor& y, const Tensor& sum, int64_t begin, int64_t end) {
  const auto count = static_cast<size_t>(end - begin);
  if (x.dtype == DType::f32) {
    add_as(x.as<float>() + begin, y.as<float>() + begin, sum.as<float>() + begin, count);
  } else {
    add_as(x.as<bf16>() + begin, y.as<bf16>() + begin, sum.as<bf16>() + begin, count);
  }
}

// sums [columns] += the column sums of rows [begin, end)
template <class T>
void column_sum_as(const T* x, float* sums, size_t columns, int64_t begin, int64_t end) {
  for (auto row = static_cast<size_t>(begin); row < static_cast<size_t>(end); ++row) {
    const T* from = x + row * columns;
    for_vectors(columns, [&](size_t i, auto part) HWY_ATTR {
      store(hn::Add(load(sums + i, part), load(from + i, part)), sums + i, part);
    });
  }
}

void column_sum_rows(const Tensor& x, float* sums, int64_t begin, int64_t end) {
  const auto columns = static_cast<size_t>(x.shape[1]);
  if (x.dtype == DType::f32) {
    column_sum_as(x.as<float>(), sums, columns, begin, end);
  } else {
    column_sum_as(x.as<bf16>(), sums, columns, begin, end);
  }
}

// In fp64: the square of a small gradient underflows in fp32.
double sum_of_squares_range(const float* x, int64_t begin, int64_t end) {
  const hn::ScalableTag<double> doubles;
  const hn::Rebind<float, decltype(doubles)> floats;
  const auto n = static_cast<int64_t>(hn::Lanes(doubles));
  auto even = hn::Zero(doubles);
  auto odd = hn::Zero(doubles);
  int64_t i = begin;
  for (; i + 2 * n <= end; i += 2 * n) {
    const auto a = hn::PromoteTo(doubles, hn::LoadU(floats, x + i));
    const auto b = hn::PromoteTo(doubles, hn::LoadU(floats, x + i + n));
    even = hn::MulAdd(a, a, even);
    odd = hn::MulAdd(b, b, odd);
  }
  double total = hn::GetLane(hn::SumOfLanes(doubles, hn::Add(even, odd)));
  for (; i < end; ++i) total += static_cast<double>(x[i]) * x[i];
  return total;
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace switchyard::ops
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <algorithm>
#include <numeric>

#include "core/ops/backends.h"
#include "core/ops/column_partials.h"
#include "core/ops/elementwise.h"
#include "core/ops/parallel_blocks.h"

namespace switchyard::ops {
HWY_EXPORT(fill_range);
HWY_EXPORT(cast_range);
HWY_EXPORT(add_range);
HWY_EXPORT(column_sum_rows);
HWY_EXPORT(sum_of_squares_range);

namespace {

constexpr int64_t block_elements = 1 << 15;

void copy_bytes(const void* from, void* to, int64_t bytes) {
  parallel_blocks(bytes, 1 << 18, [&](int64_t begin, int64_t end) {
    std::memcpy(static_cast<char*>(to) + begin, static_cast<const char*>(from) + begin,
                static_cast<size_t>(end - begin));
  });
}

// Where row `row` of a tensor begins, rows being counted over all axes but the last.
char* strided_row(const Tensor& t, int64_t row) {
  int64_t offset = 0;
  for (int axis = t.shape.rank() - 2; axis >= 0; --axis) {
    offset += row % t.shape[axis] * t.stride[static_cast<size_t>(axis)];
    row /= t.shape[axis];
  }
  return static_cast<char*>(t.data) + offset * size_of(t.dtype);
}

}  // namespace

void cpu::fill(const Context&, const Tensor& x, float value) {
  if (x.dtype == DType::f64) {  // totals: few elements
    std::fill_n(x.as<double>(), x.elements(), double{value});
    return;
  }
  parallel_blocks(x.elements(), block_elements, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(fill_range)(x, value, begin, end);
  });
}

void cpu::copy(const Context&, const Tensor& from, const Tensor& to) {
  if (from.elements() == 0) return;
  if (from.is_contiguous() && to.is_contiguous()) return copy_bytes(from.data, to.data, to.bytes());
  const int64_t columns = from.shape[from.shape.rank() - 1];
  const auto row_bytes = static_cast<size_t>(columns * size_of(from.dtype));
  const int64_t block_rows = std::max<int64_t>(1, block_elements / columns);
  parallel_blocks(from.elements() / columns, block_rows, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      std::memcpy(strided_row(to, row), strided_row(from, row), row_bytes);
    }
  });
}

void cpu::cast(const Context& context, const Tensor& from, const Tensor& to) {
  if (from.dtype == to.dtype) return cpu::copy(context, from, to);
  parallel_blocks(from.elements(), block_elements, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(cast_range)(from, to, begin, end);
  });
}

void cpu::add(const Context&, const Tensor& x, const Tensor& y, const Tensor& sum) {
  parallel_blocks(x.elements(), block_elements, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(add_range)(x, y, sum, begin, end);
  });
}

void cpu::column_sum(const Context& context, const Tensor& x, const Tensor& sums) {
  Scratch::Scope scope(context.scratch);
  const ColumnPartials partials(scope, x.shape[0], x.shape[1]);
  parallel_blocks(x.shape[0], partials.block_rows(), [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(column_sum_rows)(x, partials.of(begin), begin, end);
  });
  partials.add_to(sums.as<float>(), 0, x.shape[1]);
}

void cpu::sum_of_squares(const Context& context, const Tensor& x, const Tensor& total) {
  const int64_t blocks = (x.elements() + block_elements - 1) / block_elements;
  Scratch::Scope scope(context.scratch);
  const auto partials = scope.allocate({blocks}, DType::f64).span<double>();
  parallel_blocks(x.elements(), block_elements, [&](int64_t begin, int64_t end) {
    partials[static_cast<size_t>(begin / block_elements)] =
        HWY_DYNAMIC_DISPATCH(sum_of_squares_range)(x.as<float>(), begin, end);
  });
  double squares = 0;
  for (const double partial : partials) squares += partial;
  *total.as<double>() += squares;
}

void cpu::sum(const Context&, const Tensor& x, const Tensor& total) {
  double values = 0;
  for (const float value : x.span<float>()) values += static_cast<double>(value);
  *total.as<double>() += values;
}

void cpu::iota(const Context&, const Tensor& x, int64_t first) {
  if (x.dtype == DType::i64) {
    std::iota(x.as<int64_t>(), x.as<int64_t>() + x.elements(), first);
  } else {
    std::iota(x.as<int32_t>(), x.as<int32_t>() + x.elements(), static_cast<int32_t>(first));
  }
}

}  // namespace switchyard::ops
#endif  // HWY_ONCE
