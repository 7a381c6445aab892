#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/dtype.h"
#include "model/gpt_stage.h"

namespace switchyard {

// One matrix product of a training step: c [m, n] = op(a) [m, k] op(b) [k, n], as ops::matmul is
// called with it. What is planned, timed and listed is taken from here.
struct Product {
  std::string name;  // "attention qkv forward"
  int64_t m = 0, n = 0, k = 0;
  bool transpose_a = false, transpose_b = false;
  bool accumulate = false;  // c += (weight gradients behind the first microbatch)
  DType inputs = DType::f32;
  DType output = DType::f32;
  bool bias = false;           // added to c's rows
  bool gelu_input = false;     // c is a gelu, whose input is saved
  bool gelu_gradient = false;  // c is multiplied by a gelu's gradient
  bool row_sums = false;       // the bias gradient beside a weight gradient
  int64_t times = 0;           // in a step of this rank

  double operations() const {  // of all of them
    return 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k) *
           static_cast<double>(times);
  }
};

// All products of a training step of `microbatches` microbatches on the rank at `place`, in order
// of forward, then backward. Throws Error for a layout that check_layout refuses.
std::vector<Product> step_products(const GptConfig& config, const Layout& layout,
                                   const Coordinates& place, const GptStage::Options& options,
                                   int64_t microbatches);

}  // namespace switchyard
