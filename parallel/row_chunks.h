#pragma once

#include <algorithm>
#include <cstdint>

#include "core/tensor.h"

namespace switchyard {

// Rows [begin, end) of a tensor.
struct RowRange {
  int64_t begin = 0;
  int64_t end = 0;
  int64_t count() const { return end - begin; }
  Tensor of(const Tensor& t) const { return t.slice(0, begin, end); }
};

// The rows that a rank holds between products, in chunks for their exchange: all of one length but
// the last, which may be shorter. Fewer than asked for where there are fewer rows or where equal
// lengths cover them sooner.
class RowChunks {
 public:
  // 1 row or more, 1 chunk or more.
  RowChunks(int64_t own_rows, int64_t wanted)
      : own_rows_(own_rows), length_((own_rows + wanted - 1) / wanted) {}

  int64_t length() const { return length_; }
  int64_t count() const { return (own_rows_ + length_ - 1) / length_; }
  RowRange own(int64_t chunk) const {  // of the own rows
    return {chunk * length_, std::min((chunk + 1) * length_, own_rows_)};
  }
  // The same rows of `rank`'s own ones, among the rows of all ranks.
  RowRange of_rank(int rank, int64_t chunk) const {
    const RowRange part = own(chunk);
    return {rank * own_rows_ + part.begin, rank * own_rows_ + part.end};
  }

 private:
  int64_t own_rows_;
  int64_t length_;
};

}  // namespace switchyard
