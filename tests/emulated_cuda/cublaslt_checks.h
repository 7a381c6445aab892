#pragma once

#include <cublasLt.h>

#include "tests/emulated_cuda/cublaslt_product.h"

// What cublasLt.h and NVIDIA's documentation say that cublasLtMatmul takes, as far as the product
// uses it.
namespace emulated {

// The descriptors of a call, which the real library makes and reads without a driver.
struct LtDescriptors {
  cublasLtMatmulDesc_t operation;
  cublasLtMatrixLayout_t a, b, c, d;
};

// Fills all but the algorithm, the factors and the addresses of the matrices. A status other than
// success says why there is no such product, and `complain` has printed it.
cublasStatus_t read_product(const LtDescriptors& from, LtProduct& product);

// The alignments in bytes that an algorithm was asked for with. Those of the bias, or of its
// gradient, and of the auxiliary matrix are what their addresses had then.
struct LtAlignments {
  uint8_t a = 1, b = 1, c = 1, d = 1, bias = 1, aux = 1;
  uint8_t unused[2] = {};
};
cublasStatus_t check_addresses(const LtProduct& product, const LtAlignments& alignments);

}  // namespace emulated
