#pragma once

#include "core/ops/context.h"
#include "core/tensor.h"

namespace switchyard::ops {

struct MatmulOptions {
  bool transpose_a = false;  // a is [k, m]
  bool transpose_b = false;  // b is [n, k]
  bool accumulate = false;   // c += instead of c =
  Tensor bias = {};          // [n] of c's or a's dtype, added to each row; not with accumulate
  // One of the two, fused with the product where the backend can, otherwise done behind it; of c's
  // shape and dtype in other memory, rows may be strided. Never with accumulate.
  Tensor gelu_input = {};     // c = gelu_tanh(product + bias), and this receives its input
  Tensor gelu_gradient = {};  // a gelu's saved input: c = product * gelu_tanh'(it); no bias
  // [m] f32 += the sums of op(a) along k: the bias gradient beside a weight gradient, so with
  // transpose_a alone.
  Tensor row_sums = {};
};

// c [m, n] = op(a) [m, k] op(b) [k, n] (+ bias). Rows may be strided, the last axis is dense.
// a and b have one dtype, f32, bf16 or (on a GPU) f16; c is f32 or that dtype; sums are fp32. The
// three layouts of training, with weights out x in:
//   forward          y [rows, out] = x W^T       transpose_b
//   input gradient   dx [rows, in] = dy W
//   weight gradient  dW [out, in] += dy^T x      transpose_a, accumulate
// What is not fused rounds once more where c is 16 bits wide: a gelu's input before the gelu, a
// product before a gelu's gradient. Throws Error for shapes, dtypes or options that do not fit.
void matmul(const Context& context, const Tensor& a, const Tensor& b, const Tensor& c,
            const MatmulOptions& options = {});

}  // namespace switchyard::ops
