#pragma once

#include "core/ops/context.h"
#include "core/tensor.h"

namespace switchyard::ops {

// The part of an embedding whose table rows [first_row, first_row + rows of table) are here.
// y [tokens, hidden] = table[token - first_row], or 0 where the token's row is elsewhere.
// ids is i32 [tokens]; table is [rows, hidden], f32 or bf16, on a GPU f16,
// too; y is of the same dtype.
void embedding_forward(const Context& context, const Tensor& ids, const Tensor& table,
                       int64_t first_row, const Tensor& y);

// dtable [rows, hidden] f32 += dy at the tokens' rows: on the CPU in the order of the tokens, on a
// GPU in that order within pieces of the tokens of a row and then over these. The same bits each
// time and whatever the number of threads.
void embedding_backward(const Context& context, const Tensor& ids, const Tensor& dy,
                        int64_t first_row, const Tensor& dtable);

// Learned positions of samples that lie behind one another: x [rows, hidden] += table[(first + row)
// % positions] with table [positions, hidden] of x's dtype, in one launch.
void position_embedding_forward(const Context& context, const Tensor& table, int64_t first,
                                const Tensor& x);

// dtable [positions, hidden] f32 += dx's rows of each position, in their order: the same bits
// whatever the device and the number of threads.
void position_embedding_backward(const Context& context, const Tensor& dx, int64_t first,
                                 const Tensor& dtable);

}  // namespace switchyard::ops
