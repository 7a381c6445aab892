#include "core/ops/matmul/descriptors.h"

#include <gtest/gtest.h>

#include <bit>

#include "tests/core/ops/matmul_products.h"
#include "tests/core/ops/op_test.h"

// cuBLASLt's own descriptors of every product of three models, made without a driver and read back.
namespace switchyard::ops::test {
namespace {

constexpr int64_t workspace = int64_t{64} << 20;

template <class T>
T read(cublasLtMatmulDesc_t operation, cublasLtMatmulDescAttributes_t attribute) {
  T value{};
  size_t written = 0;
  EXPECT_EQ(cublasLtMatmulDescGetAttribute(operation, attribute, &value, sizeof value, &written),
            CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(written, sizeof value);
  return value;
}

template <class T>
T read(cublasLtMatrixLayout_t layout, cublasLtMatrixLayoutAttribute_t attribute) {
  T value{};
  size_t written = 0;
  EXPECT_EQ(cublasLtMatrixLayoutGetAttribute(layout, attribute, &value, sizeof value, &written),
            CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(written, sizeof value);
  return value;
}

struct Extents {
  int64_t rows, columns, ld;
  cudaDataType_t type;
  friend bool operator==(const Extents&, const Extents&) = default;
};

Extents extents(cublasLtMatrixLayout_t layout) {
  return {static_cast<int64_t>(read<uint64_t>(layout, CUBLASLT_MATRIX_LAYOUT_ROWS)),
          static_cast<int64_t>(read<uint64_t>(layout, CUBLASLT_MATRIX_LAYOUT_COLS)),
          read<int64_t>(layout, CUBLASLT_MATRIX_LAYOUT_LD),
          static_cast<cudaDataType_t>(read<uint32_t>(layout, CUBLASLT_MATRIX_LAYOUT_TYPE))};
}

struct Native {
  DType dtype;
  cudaDataType_t type;
};
constexpr Native types[] = {
    {DType::f32, CUDA_R_32F}, {DType::bf16, CUDA_R_16BF}, {DType::f16, CUDA_R_16F}};

cudaDataType_t native(DType dtype) {
  for (const Native& n : types) {
    if (n.dtype == dtype) return n.type;
  }
  return CUDA_R_64F;
}

// Row-major [rows, columns] is column-major [columns, rows].
Extents row_major(int64_t rows, int64_t columns, int64_t step, DType dtype) {
  return {columns, rows, step, native(dtype)};
}

int32_t epilogue_of(const MatmulProduct& p) {
  if (p.gelu_input) return p.bias ? CUBLASLT_EPILOGUE_GELU_AUX_BIAS : CUBLASLT_EPILOGUE_GELU_AUX;
  if (p.gelu_gradient) return CUBLASLT_EPILOGUE_DGELU;
  if (p.row_sums) return CUBLASLT_EPILOGUE_BGRADB;
  return p.bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
}

void expect_layouts(const MatmulProduct& p, const cuda::MatmulDescriptors& made) {
  const int64_t columns_a = p.transpose_a ? p.m : p.k, columns_b = p.transpose_b ? p.k : p.n;
  EXPECT_EQ(extents(made.b()), row_major(p.stored_rows_a(), columns_a, p.row_a, p.inputs));
  EXPECT_EQ(extents(made.a()), row_major(p.stored_rows_b(), columns_b, p.row_b, p.inputs));
  EXPECT_EQ(extents(made.d()), row_major(p.m, p.n, p.row_c, p.output));
  EXPECT_EQ(read<int32_t>(made.operation(), CUBLASLT_MATMUL_DESC_TRANSA),
            p.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
  EXPECT_EQ(read<int32_t>(made.operation(), CUBLASLT_MATMUL_DESC_TRANSB),
            p.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
}

void expect_epilogue(const MatmulPlan& plan, const cuda::MatmulDescriptors& made) {
  const MatmulProduct& p = plan.product;
  const bool twin_of_gelu = p.inputs == DType::f32 && (p.gelu_input || p.gelu_gradient);
  const int32_t left = p.bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
  EXPECT_EQ(read<int32_t>(made.operation(), CUBLASLT_MATMUL_DESC_EPILOGUE),
            twin_of_gelu ? left : epilogue_of(p));
  const auto type = static_cast<int32_t>(native(p.output));
  constexpr int32_t as_output = -1;
  EXPECT_EQ(read<int32_t>(made.operation(), CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE),
            p.bias ? type : as_output);
  EXPECT_EQ(read<int32_t>(made.operation(), CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_DATA_TYPE),
            as_output);
  if (plan.ld_aux == 0) return;
  EXPECT_EQ(read<int64_t>(made.operation(), CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD), p.row_gelu);
  EXPECT_EQ(p.row_gelu % 8, 0);
  EXPECT_GE(p.row_gelu, p.n);
}

void expect_descriptors(const MatmulProduct& p) {
  const MatmulPlan plan = plan_matmul(p, Fusion::full, workspace);
  SCOPED_TRACE(plan.to_string());
  const cuda::MatmulDescriptors made(plan);
  expect_layouts(p, made);
  expect_epilogue(plan, made);
  const auto compute = p.tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
  EXPECT_EQ(read<int32_t>(made.operation(), CUBLASLT_MATMUL_DESC_COMPUTE_TYPE), compute);
  EXPECT_EQ(read<int32_t>(made.operation(), CUBLASLT_MATMUL_DESC_SCALE_TYPE), CUDA_R_32F);
  EXPECT_EQ(plan.beta, p.accumulate ? 1.0f : 0.0f);
}

TEST(MatmulDescriptors, OfEveryProductOfTheModels) {
  for (const MatmulProduct& p : model_products()) expect_descriptors(p);
}

// A vocabulary split over ranks whose number does not divide it.
TEST(MatmulDescriptors, OfOddVocabularyShards) {
  for (const DType dtype : {DType::bf16, DType::f16, DType::f32}) {
    for (const int64_t vocabulary : {10061, 16767}) {
      for (MatmulProduct p : linear_products(8192, 768, vocabulary, dtype)) {
        p.bias = p.row_sums = false;
        expect_descriptors(p.dense());
      }
    }
  }
}

TEST(MatmulDescriptors, Tf32WhenAsked) {
  MatmulProduct p = linear_products(64, 96, 128, DType::f32)[0].dense();
  p.tf32 = true;
  expect_descriptors(p);
}

TEST(MatmulDescriptors, TakeAddresses) {
  MatmulProduct p = linear_products(64, 96, 128, DType::bf16)[0];
  p.gelu_input = true;
  const cuda::MatmulDescriptors made(plan_matmul(p.dense(), Fusion::full, workspace));
  const auto* bias = std::bit_cast<const void*>(uintptr_t{4096});
  const auto* aux = std::bit_cast<const void*>(uintptr_t{8192});
  made.point_bias(bias);
  made.point_aux(aux);
  EXPECT_EQ(read<const void*>(made.operation(), CUBLASLT_MATMUL_DESC_BIAS_POINTER), bias);
  EXPECT_EQ(read<const void*>(made.operation(), CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER), aux);
}

TEST(MatmulDescriptors, RefuseOtherDtypes) {
  expect_error([] { cuda::data_type(DType::f64); }, "f64 is no dtype of products on a GPU");
}

TEST(MatmulDescriptors, NameTheCallThatFailed) {
  expect_error([] { cuda::check_cublas(CUBLAS_STATUS_NOT_SUPPORTED, "cublasLtMatmul"); },
               "cublasLtMatmul: ");
  expect_error([] { cuda::check_cublas(CUBLAS_STATUS_NOT_SUPPORTED, "cublasLtMatmul"); },
               "CUBLAS_STATUS_NOT_SUPPORTED");
}

}  // namespace
}  // namespace switchyard::ops::test
