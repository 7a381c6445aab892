#pragma once

#include "core/ops/context.h"
#include "core/ops/dropout.h"
#include "core/tensor.h"

namespace switchyard::ops {

enum class Norm : uint8_t { layer, rms };

// One pass over the residual stream:
//   sum = residual + dropout(x + bias)      (each part optional, see below)
//   y   = norm(sum) * weight + shift
// Statistics and the norm are computed in fp32. LayerNorm: Ba et al. 2016; RMSNorm: Zhang and
// Sennrich 2019. Tensors are contiguous; all [rows, hidden] of one dtype, f32, bf16 or (on a GPU)
// f16; parameters [hidden] of that dtype or f32. Statistics are those of `sum` as it is stored.
struct ResidualNorm {
  Norm kind = Norm::layer;
  float epsilon = 1e-5f;
  Tensor residual;    // [rows, hidden]
  Tensor x;           // [rows, hidden], the branch to be added; none: sum = residual
  Tensor bias;        // [hidden], added to x; may be none
  Dropout dropout;    // of x + bias
  Tensor sum;         // [rows, hidden], written if x is given; may be the same memory as residual
  Tensor weight;      // [hidden]; none: no norm, y and the statistics are not written
  Tensor shift;       // [hidden]; none for RMSNorm or a norm without bias
  Tensor y;           // [rows, hidden]
  Tensor mean;        // [rows] f32, for LayerNorm
  Tensor reciprocal;  // [rows] f32, 1 / standard deviation (or root mean square)
};
void residual_norm_forward(const Context& context, const ResidualNorm& t);

// The backward pass of the same: given dy and the gradient that reaches sum from above,
//   dsum      = dsum_above + d norm        (dsum may be the same memory as dsum_above)
//   dx        = dropout mask of dsum       (written if dx is given; without dropout it may be dsum)
//   dbias    += column sums of dx;  dweight += ...;  dshift += ...
struct ResidualNormBackward {
  Norm kind = Norm::layer;
  Tensor sum;                       // [rows, hidden], from forward (the residual where x was none)
  Tensor weight, mean, reciprocal;  // from forward; weight none: no norm
  Tensor dy;                        // [rows, hidden]
  Tensor dsum_above;                // [rows, hidden]; may be none
  Tensor dsum;                      // [rows, hidden]
  Dropout dropout;                  // as in forward
  Tensor dx;                        // [rows, hidden]; may be none
  Tensor dweight, dshift, dbias;    // [hidden] f32, added to; dshift and dbias may be none
};
void residual_norm_backward(const Context& context, const ResidualNormBackward& t);

}  // namespace switchyard::ops
