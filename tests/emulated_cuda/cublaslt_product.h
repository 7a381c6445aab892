#pragma once

#include <cublasLt.h>

#include <cstdint>

// What a call of cublasLtMatmul computes, read from its descriptors, and the computation on the
// host. Matrices are column-major.
namespace emulated {

struct LtMatrix {
  int64_t rows = 0, columns = 0, ld = 0;
  cudaDataType_t type = CUDA_R_32F;

  int64_t bytes() const;  // from the first element to the last
};

struct LtProduct {
  LtMatrix a, b, d;  // a and b as stored; C is laid out as D
  bool transpose_a = false, transpose_b = false;
  bool tf32 = false;  // inputs are rounded to 10 bits of fraction
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  int64_t ld_aux = 0;
  int splits = 1;  // parts of the inner axis, added in fp32 behind one another
  float alpha = 1, beta = 0;
  const void *a_data = nullptr, *b_data = nullptr, *c_data = nullptr;
  void *d_data = nullptr, *bias = nullptr, *aux = nullptr;

  int64_t inner() const { return transpose_a ? a.rows : a.columns; }
  bool has(cublasLtEpilogue_t part) const { return (epilogue & part) == part; }
};

int64_t size_of(cudaDataType_t type);  // bytes; 0 for one that is not known

// D and what the epilogue writes; sums are fp32 in ascending order of the inner axis within each
// split, whatever the shape.
void compute(const LtProduct& product);

}  // namespace emulated
