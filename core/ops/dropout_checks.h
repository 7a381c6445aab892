#pragma once

#include "core/ops/checks.h"
#include "core/ops/dropout.h"

namespace switchyard::ops {

// What dropout over [rows, columns] on `device` needs of its options.
inline void check_dropout(std::string_view where, const Dropout& options, int64_t rows,
                          Device device) {
  check(options.probability >= 0 && options.probability < 1, where,
        "a dropout probability of {} was given; 0 <= p < 1 is allowed", options.probability);
  if (options.probability == 0) return;
  check_dtype(where, "row_ids", options.row_ids, {DType::i64});
  check_shape(where, "row_ids", options.row_ids, {rows});
  check_contiguous(where, "row_ids", options.row_ids);
  check_device(where, "row_ids", options.row_ids, device);
}

}  // namespace switchyard::ops
