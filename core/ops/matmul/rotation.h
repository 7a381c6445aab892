#pragma once

#include <vector>

#include "core/memory.h"
#include "core/ops/context.h"
#include "core/ops/matmul/matmul.h"
#include "core/ops/matmul/plan.h"

// Private to core/ops: operands of a product for timing it on a GPU.
namespace switchyard::ops {

// One set of a product's operands, in memory that begins at a multiple of 256 bytes; the product
// must outlive it.
class MatmulOperands {
 public:
  MatmulOperands(const MatmulProduct& p, char* memory);

  Tensor a, b, c;
  MatmulOptions options;
  int64_t bytes() const { return used_; }

 private:
  Tensor gelu() { return matrix(p_.m, p_.n, p_.row_gelu, p_.output, p_.align_gelu); }
  Tensor matrix(int64_t rows, int64_t columns, int64_t row, DType dtype, int alignment);

  char* memory_;
  const MatmulProduct& p_;
  int64_t used_ = 0;
};

// Sets of random operands that together pass the cache's size.
class MatmulRotation {
 public:
  // `bytes` of one set; no more than `room` of all of them.
  MatmulRotation(const Context& context, const MatmulProduct& product, int64_t bytes,
                 int64_t cold_bytes, int64_t room);

  const MatmulOperands& next() { return sets_[next_++ % sets_.size()]; }

 private:
  void fill(const Context& context, const MatmulProduct& product, int64_t bytes);

  Memory memory_;
  std::vector<MatmulOperands> sets_;
  size_t next_ = 0;
};

}  // namespace switchyard::ops
