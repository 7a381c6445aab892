#include "core/ops/matmul/product.h"

#include <fmt/core.h>

#include <algorithm>
#include <bit>

namespace switchyard::ops {

namespace {

int alignment_of(const void* address) {
  constexpr int widest = MatmulProduct::widest_access;
  const auto bits = std::bit_cast<uintptr_t>(address);
  if (bits == 0) return widest;
  return 1 << std::min(std::countr_zero(bits), std::countr_zero(unsigned{widest}));
}

// A matrix of one row may have any step between rows: one that suits every kernel.
int64_t row_step(int64_t rows, int64_t columns, int64_t stride) {
  constexpr int64_t multiple = 8;
  return rows > 1 ? stride : (columns + multiple - 1) / multiple * multiple;
}

int64_t row_step(const Tensor& t) { return row_step(t.shape[0], t.shape[1], t.stride[0]); }

int64_t dense_step(int64_t rows, int64_t columns) { return row_step(rows, columns, columns); }

MatmulProduct product_of(int64_t m, int64_t n, int64_t k, DType inputs, DType output) {
  MatmulProduct p;
  p.m = m;
  p.n = n;
  p.k = k;
  p.inputs = inputs;
  p.output = output;
  return p;
}

}  // namespace

MatmulProduct MatmulProduct::forward(int64_t rows, int64_t in, int64_t out, DType dtype) {
  MatmulProduct p = product_of(rows, out, in, dtype, dtype);
  p.transpose_b = true;
  return p.dense();
}

MatmulProduct MatmulProduct::input_gradient(int64_t rows, int64_t in, int64_t out, DType dtype) {
  return product_of(rows, in, out, dtype, dtype).dense();
}

MatmulProduct MatmulProduct::weight_gradient(int64_t rows, int64_t in, int64_t out, DType dtype) {
  MatmulProduct p = product_of(out, in, rows, dtype, DType::f32);
  p.transpose_a = true;
  return p.dense();
}

MatmulProduct MatmulProduct::dense() const {
  MatmulProduct p = *this;
  p.row_a = dense_step(stored_rows_a(), stored_columns_a());
  p.row_b = dense_step(stored_rows_b(), stored_columns_b());
  p.row_c = dense_step(m, n);
  p.row_gelu = gelu_input || gelu_gradient ? p.row_c : 0;
  return p;
}

double MatmulProduct::operations() const {
  return 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
}

std::string_view MatmulProduct::pass() const {
  if (transpose_a) return "weight gradient";
  return transpose_b ? "forward" : "input gradient";
}

std::string MatmulProduct::to_string() const {
  std::string text =
      fmt::format("[{}, {}]{} x [{}, {}]{} of {} {} {}", m, k, transpose_a ? " transposed" : "", k,
                  n, transpose_b ? " transposed" : "", name_of(inputs),
                  accumulate ? "added to" : "to", name_of(output));
  if (bias) text += ", bias";
  if (gelu_input) text += ", gelu";
  if (gelu_gradient) text += ", gelu gradient";
  if (row_sums) text += ", bias gradient";
  if (tf32) text += ", TF32";
  return text;
}

MatmulProduct describe_product(const Tensor& a, const Tensor& b, const Tensor& c,
                               const MatmulOptions& options, bool allow_tf32) {
  MatmulProduct p;
  p.m = c.shape[0];
  p.n = c.shape[1];
  p.k = a.shape[options.transpose_a ? 0 : 1];
  p.row_a = row_step(a);
  p.row_b = row_step(b);
  p.row_c = row_step(c);
  p.inputs = a.dtype;
  p.output = c.dtype;
  p.transpose_a = options.transpose_a;
  p.transpose_b = options.transpose_b;
  p.accumulate = options.accumulate;
  p.bias = static_cast<bool>(options.bias);
  p.gelu_input = static_cast<bool>(options.gelu_input);
  p.gelu_gradient = static_cast<bool>(options.gelu_gradient);
  p.row_sums = static_cast<bool>(options.row_sums);
  p.tf32 = allow_tf32 && a.dtype == DType::f32;
  p.align_a = alignment_of(a.data);
  p.align_b = alignment_of(b.data);
  p.align_c = alignment_of(c.data);
  if (p.gelu_input || p.gelu_gradient) {
    const Tensor& gelu = p.gelu_input ? options.gelu_input : options.gelu_gradient;
    p.row_gelu = row_step(gelu);
    p.align_gelu = alignment_of(gelu.data);
  }
  return p;
}

}  // namespace switchyard::ops
