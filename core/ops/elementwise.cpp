#include "core/ops/elementwise.h"

#include "core/ops/backends.h"
#include "core/ops/checks.h"

namespace switchyard::ops {

namespace {

void check_float(std::string_view where, std::string_view name, const Tensor& t) {
  check_floating(where, name, t);
  check_contiguous(where, name, t);
}

void check_equal_counts(std::string_view where, std::string_view name, const Tensor& t,
                        const Tensor& first) {
  check(t.elements() == first.elements(), where,
        "{} has shape {}; {} elements are allowed, as of {}", name, t.shape.to_string(),
        first.elements(), first.shape.to_string());
  check_device(where, name, t, first.device);
}

void check_f32(std::string_view where, const Tensor& x) {
  check_dtype(where, "x", x, {DType::f32});
  check_contiguous(where, "x", x);
}

void check_total(std::string_view where, const Tensor& total, const Tensor& x) {
  check_dtype(where, "total", total, {DType::f64});
  check_shape(where, "total", total, {1});
  check_device(where, "total", total, x.device);
}

}  // namespace

void fill(const Context& context, const Tensor& x, float value) {
  if (x.dtype != DType::f64) check_float("fill", "x", x);
  check_contiguous("fill", "x", x);
  on_device(x.device, cpu::fill, cuda::fill)(context, x, value);
}

void copy(const Context& context, const Tensor& from, const Tensor& to) {
  check_dtype("copy", "to", to, {from.dtype});
  check_equal_counts("copy", "to", to, from);
  if (!from.is_contiguous() || !to.is_contiguous()) {
    check_shape("copy", "to", to, from.shape);
    check_dense_last_axis("copy", "from", from);
    check_dense_last_axis("copy", "to", to);
  }
  on_device(from.device, cpu::copy, cuda::copy)(context, from, to);
}

void cast(const Context& context, const Tensor& from, const Tensor& to) {
  for (const auto& [name, t] : {std::pair{"from", from}, {"to", to}}) {
    check_dtype("cast", name, t, {DType::f32, DType::bf16, DType::f16});
    check_contiguous("cast", name, t);
  }
  check_equal_counts("cast", "to", to, from);
  on_device(from.device, cpu::cast, cuda::cast)(context, from, to);
}

void add(const Context& context, const Tensor& x, const Tensor& y, const Tensor& sum) {
  check_float("add", "x", x);
  check_dtype("add", "y", y, {x.dtype});
  check_dtype("add", "sum", sum, {x.dtype});
  check_contiguous("add", "y", y);
  check_contiguous("add", "sum", sum);
  check_equal_counts("add", "y", y, x);
  check_equal_counts("add", "sum", sum, x);
  on_device(x.device, cpu::add, cuda::add)(context, x, y, sum);
}

void column_sum(const Context& context, const Tensor& x, const Tensor& sums) {
  check_rank("column_sum", "x", x, 2);
  check_float("column_sum", "x", x);
  check_dtype("column_sum", "sums", sums, {DType::f32});
  check_shape("column_sum", "sums", sums, {x.shape[1]});
  check_contiguous("column_sum", "sums", sums);
  check_device("column_sum", "sums", sums, x.device);
  on_device(x.device, cpu::column_sum, cuda::column_sum)(context, x, sums);
}

void iota(const Context& context, const Tensor& x, int64_t first) {
  check_dtype("iota", "x", x, {DType::i64, DType::i32});
  check_contiguous("iota", "x", x);
  check(x.dtype == DType::i64 || (first >= INT32_MIN && first + x.elements() <= INT32_MAX), "iota",
        "{} numbers from {} as i32; they must fit", x.elements(), first);
  on_device(x.device, cpu::iota, cuda::iota)(context, x, first);
}

void sum_of_squares(const Context& context, const Tensor& x, const Tensor& total) {
  check_f32("sum_of_squares", x);
  check_total("sum_of_squares", total, x);
  on_device(x.device, cpu::sum_of_squares, cuda::sum_of_squares)(context, x, total);
}

void sum(const Context& context, const Tensor& x, const Tensor& total) {
  check_f32("sum", x);
  check_total("sum", total, x);
  on_device(x.device, cpu::sum, cuda::sum)(context, x, total);
}

}  // namespace switchyard::ops
