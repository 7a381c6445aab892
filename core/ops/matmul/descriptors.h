#pragma once

#include <cublasLt.h>

#include <memory>
#include <string_view>
#include <type_traits>

#include "core/ops/matmul/plan.h"

// Private to core/ops: a plan as cuBLASLt's descriptors. They are made and read without a driver.
namespace switchyard::ops::cuda {

// Throws Error naming the call and cuBLASLt's own words.
void check_cublas(cublasStatus_t status, std::string_view call);

cudaDataType_t data_type(DType dtype);  // of f32, bf16, f16; throws Error for another

template <auto destroy>
struct Destroy {
  template <class T>
  void operator()(T* handle) const {
    destroy(handle);
  }
};
template <class Handle, auto destroy>
using Owned = std::unique_ptr<std::remove_pointer_t<Handle>, Destroy<destroy>>;

class MatmulDescriptors {
 public:
  explicit MatmulDescriptors(const MatmulPlan& plan);

  cublasLtMatmulDesc_t operation() const { return operation_.get(); }
  cublasLtMatrixLayout_t a() const { return a_.get(); }
  cublasLtMatrixLayout_t b() const { return b_.get(); }
  cublasLtMatrixLayout_t d() const { return d_.get(); }  // of C, too

  // The vector of a bias that is read or of a bias gradient that is written; a gelu's input.
  void point_bias(const void* bias) const;
  void point_aux(const void* aux) const;

 private:
  Owned<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy> operation_;
  Owned<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy> a_, b_, d_;
};

}  // namespace switchyard::ops::cuda
