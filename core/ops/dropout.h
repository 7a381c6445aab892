#pragma once

#include <string_view>

#include "core/ops/context.h"
#include "core/random.h"
#include "core/tensor.h"

namespace switchyard::ops {

// Which elements of a [rows, columns] tensor are dropped: element (r, c) has the global index
// row_ids[r] * columns + c, where row_ids[r] = sample * sequence_length + position.
struct Dropout {
  double probability = 0.0;  // 0: nothing is dropped, the rest is not read
  RandomKey key;
  Tensor row_ids;  // i64 [rows]
};
// What dropout over [rows, columns] on `device` needs of its options; throws Error of `where`.
void check_dropout(std::string_view where, const Dropout& options, int64_t rows, Device device);

// y = x * mask / (1 - p) over contiguous [rows, columns], f32 or bf16, on a GPU f16, too; its own
// backward pass. y may be x. An element is kept when its random word is at least
// dropout_threshold(p).
void dropout(const Context& context, const Tensor& x, const Tensor& y, const Dropout& options);

}  // namespace switchyard::ops
