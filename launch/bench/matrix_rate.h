#pragma once

#include <cstdint>

#include "core/ops/context.h"
#include "core/ops/matmul/product.h"
#include "core/tensor.h"

namespace switchyard {

// Times the product of two size x size matrices of random numbers: the peak that performance
// figures are held against.
class MatrixRate {
 public:
  MatrixRate(int64_t size, DType dtype, Device device = Device::cpu);
  // Runs `products` of them in a row and waits; returns FLOP a second.
  double measure(ops::Context context, int products = 1);
  const Tensor& product() const { return c_; }  // of the last one
  double best() const { return best_; }
  double operations() const { return product_.operations(); }  // of one product

 private:
  ops::MatmulProduct product_;
  Arena arena_;
  Tensor a_, b_, c_;
  double best_ = 0;
};

}  // namespace switchyard
