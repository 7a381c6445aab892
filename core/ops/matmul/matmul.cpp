#include "core/ops/matmul/matmul.h"

#include "core/ops/backends.h"
#include "core/ops/checks.h"
#include "core/ops/matmul/behind.h"

namespace switchyard::ops {

namespace {

constexpr std::string_view where = "matmul";

void check_operand(std::string_view name, const Tensor& t, Device device) {
  check_rank(where, name, t, 2);
  check_dense_last_axis(where, name, t);
  check_device(where, name, t, device);
  check(t.shape[0] <= 1 || t.stride[0] >= t.shape[1], where,
        "rows of {} lie {} elements apart; at least their length {} is allowed", name, t.stride[0],
        t.shape[1]);
}

void check_dtypes(const Tensor& a, const Tensor& b, const Tensor& c, const MatmulOptions& options) {
  check_floating(where, "a", a);
  check_dtype(where, "b", b, {a.dtype});
  check_dtype(where, "c", c, {DType::f32, a.dtype});
  if (options.bias) check_dtype(where, "bias", options.bias, {c.dtype, a.dtype});
}

void check_bias(const Tensor& bias, int64_t n, const MatmulOptions& options, Device device) {
  check(!options.accumulate, where, "a bias together with accumulate; one of them is allowed");
  check_shape(where, "bias", bias, {n});
  check_contiguous(where, "bias", bias);
  check_device(where, "bias", bias, device);
}

// A tensor of a gelu beside c.
void check_gelu(std::string_view name, const Tensor& gelu, const Tensor& c,
                const MatmulOptions& options) {
  check(!options.accumulate, where, "{} together with accumulate; one of them is allowed", name);
  check_operand(name, gelu, c.device);
  check_shape(where, name, gelu, c.shape);
  check_dtype(where, name, gelu, {c.dtype});
  check(gelu.data != c.data || c.elements() == 0, where,
        "{} is c's memory; memory of its own is allowed", name);
}

void check_row_sums(const Tensor& sums, int64_t m, const MatmulOptions& options, Device device) {
  check(options.transpose_a, where, "row_sums without transpose_a; a weight gradient has both");
  check(!options.bias && !options.gelu_input && !options.gelu_gradient, where,
        "row_sums together with a bias or a gelu; they stand alone");
  check_dtype(where, "row_sums", sums, {DType::f32});
  check_shape(where, "row_sums", sums, {m});
  check_contiguous(where, "row_sums", sums);
  check_device(where, "row_sums", sums, device);
}

void check_options(const Tensor& c, const MatmulOptions& options) {
  if (options.bias) check_bias(options.bias, c.shape[1], options, c.device);
  if (options.gelu_input) check_gelu("gelu_input", options.gelu_input, c, options);
  if (options.gelu_gradient) {
    check_gelu("gelu_gradient", options.gelu_gradient, c, options);
    check(!options.bias && !options.gelu_input, where,
          "gelu_gradient together with a bias or gelu_input; it stands alone");
  }
  if (options.row_sums) check_row_sums(options.row_sums, c.shape[0], options, c.device);
}

}  // namespace

void matmul(const Context& context, const Tensor& a, const Tensor& b, const Tensor& c,
            const MatmulOptions& options) {
  check_operand("a", a, c.device);
  check_operand("b", b, c.device);
  check_operand("c", c, c.device);
  check_dtypes(a, b, c, options);
  const int64_t m = c.shape[0], n = c.shape[1];
  const int64_t k = a.shape[options.transpose_a ? 0 : 1];
  check_shape(where, "a", a, options.transpose_a ? Shape{k, m} : Shape{m, k});
  check_shape(where, "b", b, options.transpose_b ? Shape{n, k} : Shape{k, n});
  check_options(c, options);
  if (n == 0 && m > 0 && k > 0 && options.row_sums) row_sums_behind(context, a, options.row_sums);
  if (m == 0 || n == 0 || (k == 0 && options.accumulate)) return;
  check(k > 0, where, "a has shape {}: a sum over nothing; only accumulate allows it",
        a.shape.to_string());
  on_device(c.device, cpu::matmul, cuda::matmul)(context, a, b, c, options);
}

}  // namespace switchyard::ops
