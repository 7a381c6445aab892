#pragma once

#include "core/ops/context.h"
#include "core/tensor.h"

namespace switchyard::ops {

// All over contiguous tensors of equal element counts, f32 or bf16 as said.

void fill(const Context& context, const Tensor& x, float value);  // any of both
void copy(const Context& context, const Tensor& from,
          const Tensor& to);  // same dtype; strided rows allowed
void cast(const Context& context, const Tensor& from, const Tensor& to);  // between both
void scale(const Context& context, const Tensor& x, float factor);        // in place
void add(const Context& context, const Tensor& x, const Tensor& y,
         const Tensor& sum);  // sum may be x or y

// sums f32 [columns] += the column sums of x [rows, columns] (a bias gradient).
void column_sum(const Context& context, const Tensor& x, const Tensor& sums);

// The sum of squares of an f32 tensor, in blocks of fixed size added in fp64 in order: the same
// bits whatever the number of threads.
double sum_of_squares(const Context& context, const Tensor& x);

// The sum of an f32 tensor in fp64, in order.
double sum(const Context& context, const Tensor& x);

}  // namespace switchyard::ops
