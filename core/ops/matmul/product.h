#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/ops/matmul/matmul.h"

namespace switchyard::ops {

// A product as ops::matmul is called with it, but for the addresses. Layers state them, choices are
// kept for them, plans are made of them.
struct MatmulProduct {
  // The three layouts of training, of weights [out, in] and the rows that go through them; a weight
  // gradient is f32.
  static MatmulProduct forward(int64_t rows, int64_t in, int64_t out, DType dtype);
  static MatmulProduct input_gradient(int64_t rows, int64_t in, int64_t out, DType dtype);
  static MatmulProduct weight_gradient(int64_t rows, int64_t in, int64_t out, DType dtype);

  int64_t m = 0, n = 0, k = 0;              // c [m, n] = op(a) [m, k] op(b) [k, n]
  int64_t row_a = 0, row_b = 0, row_c = 0;  // elements between rows as stored
  int64_t row_gelu = 0;                     // of gelu_input or gelu_gradient; 0 without
  DType inputs = DType::f32;                // of a and b
  DType output = DType::f32;                // of c and of a gelu's input
  bool transpose_a = false, transpose_b = false, accumulate = false;
  bool bias = false, gelu_input = false, gelu_gradient = false, row_sums = false;
  bool tf32 = false;  // f32 inputs may be rounded to TF32
  // Bytes that divide the addresses, at most the widest access to global memory, so that
  // layers whose tensors lie differently in one block share an entry.
  static constexpr int widest_access = 16;
  int align_a = widest_access, align_b = widest_access;
  int align_c = widest_access, align_gelu = widest_access;

  // Fills the row_ fields for matrices whose rows lie behind one another.
  MatmulProduct dense() const;
  int64_t stored_rows_a() const { return transpose_a ? k : m; }
  int64_t stored_columns_a() const { return transpose_a ? m : k; }
  int64_t stored_rows_b() const { return transpose_b ? n : k; }
  int64_t stored_columns_b() const { return transpose_b ? k : n; }
  double operations() const;  // 2 m n k
  // By the three layouts of training: "forward", "input gradient", "weight gradient".
  std::string_view pass() const;
  std::string to_string() const;
  auto operator<=>(const MatmulProduct&) const = default;  // NOLINT(modernize-use-nullptr)
};

// Of a call whose arguments ops::matmul has checked; reads addresses, never memory.
MatmulProduct describe_product(const Tensor& a, const Tensor& b, const Tensor& c,
                               const MatmulOptions& options, bool allow_tf32);

}  // namespace switchyard::ops
