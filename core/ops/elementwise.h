#pragma once

#include "core/ops/context.h"
#include "core/tensor.h"

namespace switchyard::ops {

// All over contiguous tensors of equal element counts. "Floats" are f32, bf16 or f16; of these the
// CPU takes f16 in copy and cast alone.

void fill(const Context& context, const Tensor& x, float value);  // floats or f64
// Same dtype, any; strided rows allowed; both on one device.
void copy(const Context& context, const Tensor& from, const Tensor& to);
void cast(const Context& context, const Tensor& from, const Tensor& to);  // between floats
// floats of one dtype; sum may be x or y
void add(const Context& context, const Tensor& x, const Tensor& y, const Tensor& sum);
// x[i] = first + i, of i64 or i32.
void iota(const Context& context, const Tensor& x, int64_t first);

// sums f32 [columns] += the column sums of floats x [rows, columns] (a bias gradient).
void column_sum(const Context& context, const Tensor& x, const Tensor& sums);

// total f64 [1], on x's device, += the sum of squares or the sum of an f32 tensor; in fp64, in
// blocks of fixed size added in order: the same bits whatever the number of threads.
void sum_of_squares(const Context& context, const Tensor& x, const Tensor& total);
void sum(const Context& context, const Tensor& x, const Tensor& total);

}  // namespace switchyard::ops
