#pragma once

#include <cstdint>

#include "core/ops/context.h"
#include "core/tensor.h"

// Private to the CUDA backend of core/ops.
namespace switchyard::ops {

// Tokens by the table row that they belong to.
struct TokenOrder {
  const uint32_t* rows;    // [tokens], ascending; tokens whose row is elsewhere last, as `rows`
  const uint32_t* tokens;  // [tokens], ascending among equal rows
};

// Orders the tokens with ids i32 [tokens] by id - first_row, where that is in [0, rows), in memory
// of the scope. A radix sort in the device's memory: its work does not depend on the ids.
TokenOrder order_by_row(const Context& context, Scratch::Scope& scope, const Tensor& ids,
                        int64_t first_row, int64_t rows);

}  // namespace switchyard::ops
