#pragma once

#include "core/ops/context.h"
#include "core/tensor.h"

namespace switchyard::ops {

// Means of weights, element by element; all tensors contiguous and on one device.

// mean f32 [n] += share (x - mean), of x f32 [n]; 0 <= share <= 1, and 1 is a copy. With 1 - beta
// an exponential moving average, with 1 / n the mean of n.
void move_towards(const Context& context, const Tensor& x, double share, const Tensor& mean);
// sum f64 [n] += x f32 [n]
void add_to_sum(const Context& context, const Tensor& x, const Tensor& sum);
// mean f32 [n] = sum f64 [n] / count, rounded once.
void mean_of_sum(const Context& context, const Tensor& sum, int64_t count, const Tensor& mean);
// mean f32 [n] of `count` rows of a ring f32 [rows, n], from row `first` on: summed in f64 in this
// order and rounded once.
void mean_of_ring(const Context& context, const Tensor& ring, int64_t first, int64_t count,
                  const Tensor& mean);

}  // namespace switchyard::ops
