#include "core/ops/matmul/descriptors.h"

#include "core/error.h"

namespace switchyard::ops::cuda {

namespace {

constexpr std::string_view where = "matmul";

template <class T>
void set(cublasLtMatmulDesc_t operation, cublasLtMatmulDescAttributes_t attribute, const T& value) {
  check_cublas(cublasLtMatmulDescSetAttribute(operation, attribute, &value, sizeof(value)),
               "cublasLtMatmulDescSetAttribute");
}

cublasLtEpilogue_t native(Epilogue epilogue) {
  switch (epilogue) {
    case Epilogue::none:
      return CUBLASLT_EPILOGUE_DEFAULT;
    case Epilogue::bias:
      return CUBLASLT_EPILOGUE_BIAS;
    case Epilogue::gelu_aux:
      return CUBLASLT_EPILOGUE_GELU_AUX;
    case Epilogue::gelu_aux_bias:
      return CUBLASLT_EPILOGUE_GELU_AUX_BIAS;
    case Epilogue::dgelu:
      return CUBLASLT_EPILOGUE_DGELU;
    case Epilogue::bgradb:
      return CUBLASLT_EPILOGUE_BGRADB;
  }
  fail(where, "{} is no epilogue", static_cast<int>(epilogue));
}

cublasLtMatmulDesc_t make_operation(const MatmulPlan& plan) {
  const auto compute = plan.product.tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
  cublasLtMatmulDesc_t operation = nullptr;
  check_cublas(cublasLtMatmulDescCreate(&operation, compute, CUDA_R_32F),
               "cublasLtMatmulDescCreate");
  return operation;
}

cublasLtMatrixLayout_t make_layout(const MatmulPlan::Matrix& x) {
  cublasLtMatrixLayout_t layout = nullptr;
  check_cublas(
      cublasLtMatrixLayoutCreate(&layout, data_type(x.dtype), static_cast<uint64_t>(x.rows),
                                 static_cast<uint64_t>(x.columns), x.ld),
      "cublasLtMatrixLayoutCreate");
  return layout;
}

}  // namespace

void check_cublas(cublasStatus_t status, std::string_view call) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  fail(where, "{}: {} ({})", call, cublasLtGetStatusString(status), cublasLtGetStatusName(status));
}

cudaDataType_t data_type(DType dtype) {
  if (dtype == DType::f32) return CUDA_R_32F;
  if (dtype == DType::bf16) return CUDA_R_16BF;
  if (dtype == DType::f16) return CUDA_R_16F;
  fail(where, "{} is no dtype of products on a GPU; allowed: f32, bf16, f16", name_of(dtype));
}

MatmulDescriptors::MatmulDescriptors(const MatmulPlan& plan)
    : operation_(make_operation(plan)),
      a_(make_layout(plan.a)),
      b_(make_layout(plan.b)),
      d_(make_layout(plan.d)) {
  const auto transposed = [](bool yes) { return yes ? CUBLAS_OP_T : CUBLAS_OP_N; };
  set(operation(), CUBLASLT_MATMUL_DESC_TRANSA, transposed(plan.transpose_a));
  set(operation(), CUBLASLT_MATMUL_DESC_TRANSB, transposed(plan.transpose_b));
  set(operation(), CUBLASLT_MATMUL_DESC_EPILOGUE, native(plan.epilogue));
  if (plan.ld_aux != 0) set(operation(), CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, plan.ld_aux);
  // A gelu's input and a bias gradient are of D's dtype by themselves.
  if (plan.takes_vector() && plan.epilogue != Epilogue::bgradb) {
    const auto output = static_cast<int32_t>(data_type(plan.product.output));
    set(operation(), CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, output);
  }
}

void MatmulDescriptors::point_bias(const void* bias) const {
  set(operation(), CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
}

void MatmulDescriptors::point_aux(const void* aux) const {
  set(operation(), CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, aux);
}

}  // namespace switchyard::ops::cuda
