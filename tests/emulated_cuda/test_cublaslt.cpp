#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "core/memory.h"
#include "core/ops/matmul/descriptors.h"
#include "tests/core/ops/matmul_products.h"

// The stand-in for cuBLASLt refuses what the real one documents to refuse, and overwrites what that
// overwrites. Products and their epilogues are compared with float64 in the operator's own test.
namespace switchyard::ops::test {
namespace {

constexpr int64_t workspace_bytes = 1 << 20;

class EmulatedCublasLt : public testing::Test {
 protected:
  struct Found {
    cublasStatus_t status;
    std::vector<cublasLtMatmulHeuristicResult_t> results;
  };

  static MatmulPlan plan(MatmulProduct p) {
    return plan_matmul(p.dense(), Fusion::full, workspace_bytes);
  }

  Found heuristics(const MatmulPlan& of, uint32_t schemes = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE,
                   uint64_t most = workspace_bytes) {
    const cuda::MatmulDescriptors made(of);
    if (of.takes_vector()) made.point_bias(example_bias_);
    cublasLtMatmulPreference_t preference = nullptr;
    cublasLtMatmulPreferenceCreate(&preference);
    const uint32_t alignment = 16;
    cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                                         &schemes, sizeof schemes);
    cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                         &most, sizeof most);
    for (const auto which :
         {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
          CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
      cublasLtMatmulPreferenceSetAttribute(preference, which, &alignment, sizeof alignment);
    }
    Found found{CUBLAS_STATUS_SUCCESS, std::vector<cublasLtMatmulHeuristicResult_t>(8)};
    int count = 0;
    found.status =
        cublasLtMatmulAlgoGetHeuristic(handle_, made.operation(), made.a(), made.b(), made.d(),
                                       made.d(), preference, 8, found.results.data(), &count);
    found.results.resize(static_cast<size_t>(count));
    cublasLtMatmulPreferenceDestroy(preference);
    return found;
  }

  char* memory(int64_t bytes) {
    held_.emplace_back(bytes, Device::cuda, "test");
    return static_cast<char*>(held_.back().data());
  }

  // The product with algorithm `number`, operands `offset` bytes from aligned places and the
  // workspace `workspace_offset`.
  cublasStatus_t multiply(const MatmulPlan& of, size_t number, int64_t offset, char* bias,
                          int64_t workspace, int64_t workspace_offset = 0) {
    const cuda::MatmulDescriptors made(of);
    if (of.takes_vector()) made.point_bias(bias);
    const auto result = heuristics(of).results.at(number);
    const float alpha = 1;
    char* a = memory(1 << 16) + offset;
    char* b = memory(1 << 16);
    char* d = memory(1 << 16);
    const auto status =
        cublasLtMatmul(handle_, made.operation(), &alpha, a, made.a(), b, made.b(), &of.beta, d,
                       made.d(), d, made.d(), &result.algo,
                       workspace == 0 ? nullptr : memory(workspace + 256) + workspace_offset,
                       static_cast<size_t>(workspace), static_cast<cudaStream_t>(stream_.native()));
    stream_.synchronize();
    return status;
  }

  Stream stream_{Device::cuda};
  const void* example_bias_ = nullptr;  // that heuristics see

 private:
  cublasLtHandle_t handle_ = [] {
    cublasLtHandle_t made = nullptr;
    cublasLtCreate(&made);
    return made;
  }();
  std::vector<Memory> held_;
};

MatmulProduct forward() { return linear_products(16, 24, 32, DType::bf16)[0]; }
MatmulProduct gradient() { return linear_products(24, 32, 16, DType::bf16)[3]; }

TEST_F(EmulatedCublasLt, RefusesAnAuxiliaryMatrixWhoseStepIsNoMultipleOf8) {
  MatmulProduct p = forward();
  p.gelu_input = true;
  MatmulPlan of = plan(p);
  EXPECT_EQ(heuristics(of).status, CUBLAS_STATUS_SUCCESS);
  of.ld_aux = 36;
  EXPECT_EQ(heuristics(of).status, CUBLAS_STATUS_INVALID_VALUE);
  of.ld_aux = 24;  // less than D's rows
  EXPECT_EQ(heuristics(of).status, CUBLAS_STATUS_INVALID_VALUE);
}

TEST_F(EmulatedCublasLt, RefusesOtherTypes) {
  MatmulPlan of = plan(forward());
  of.b.dtype = DType::f16;
  EXPECT_EQ(heuristics(of).status, CUBLAS_STATUS_NOT_SUPPORTED);
  of = plan(forward());
  of.d.dtype = DType::f16;
  EXPECT_EQ(heuristics(of).status, CUBLAS_STATUS_NOT_SUPPORTED);
  of = plan(forward());
  of.product.output = DType::f32;  // the bias alone
  EXPECT_EQ(heuristics(of).status, CUBLAS_STATUS_NOT_SUPPORTED);
}

TEST_F(EmulatedCublasLt, RefusesShapesThatDoNotFit) {
  MatmulPlan of = plan(forward());
  of.a.ld = 20;
  EXPECT_EQ(heuristics(of).status, CUBLAS_STATUS_INVALID_VALUE);
  of = plan(forward());
  of.b.columns += 1;
  EXPECT_EQ(heuristics(of).status, CUBLAS_STATUS_INVALID_VALUE);
}

TEST_F(EmulatedCublasLt, RefusesABiasGradientOfAnUntransposedB) {
  MatmulPlan of = plan(gradient());
  EXPECT_EQ(heuristics(of).status, CUBLAS_STATUS_SUCCESS);
  of.transpose_b = false;
  std::swap(of.b.rows, of.b.columns);
  of.b.ld = of.b.rows;
  EXPECT_EQ(heuristics(of).status, CUBLAS_STATUS_NOT_SUPPORTED);
}

TEST_F(EmulatedCublasLt, SplitsOnlyWhereItMay) {
  const MatmulPlan of = plan(gradient());
  EXPECT_EQ(heuristics(of).results.size(), 3U);
  EXPECT_EQ(heuristics(of, CUBLASLT_REDUCTION_SCHEME_NONE).results.size(), 1U);
  EXPECT_EQ(heuristics(of, CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE, 0).results.size(), 1U);
}

TEST_F(EmulatedCublasLt, RefusesAWorkspaceThatIsTooSmall) {
  MatmulProduct p = gradient();
  p.row_sums = false;
  const int64_t needed = 16 * 32 * 4;
  EXPECT_EQ(multiply(plan(p), 1, 0, nullptr, needed), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(multiply(plan(p), 1, 0, nullptr, needed - 16), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(multiply(plan(p), 1, 0, nullptr, 0), CUBLAS_STATUS_INVALID_VALUE);
}

TEST_F(EmulatedCublasLt, RefusesAMisalignedWorkspace) {
  MatmulProduct p = gradient();
  p.row_sums = false;
  const int64_t needed = 16 * 32 * 4;
  EXPECT_EQ(multiply(plan(p), 1, 0, nullptr, needed, 256), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(multiply(plan(p), 1, 0, nullptr, needed, 64), CUBLAS_STATUS_INVALID_VALUE);
}

TEST_F(EmulatedCublasLt, RefusesAddressesThatBreakTheirPromise) {
  const MatmulPlan of = plan(forward());
  char* bias = memory(256);
  EXPECT_EQ(multiply(of, 0, 0, bias, 0), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(multiply(of, 0, 8, bias, 0), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(multiply(of, 0, 0, bias + 2, 0), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(multiply(of, 0, 0, nullptr, 0), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(multiply(of, 0, 0, bias + 256 - 16, 0), CUBLAS_STATUS_INVALID_VALUE);  // its end
}

TEST_F(EmulatedCublasLt, RefusesABiasLessAlignedThanTheHeuristicsWereShown) {
  const MatmulPlan of = plan(forward());
  char* bias = memory(256);
  example_bias_ = bias;
  EXPECT_EQ(multiply(of, 0, 0, bias, 0), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(multiply(of, 0, 0, bias + 16, 0), CUBLAS_STATUS_INVALID_VALUE);
  example_bias_ = bias + 16;
  EXPECT_EQ(multiply(of, 0, 0, bias + 16, 0), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(multiply(of, 0, 0, bias + 8, 0), CUBLAS_STATUS_INVALID_VALUE);
}

TEST_F(EmulatedCublasLt, OverwritesABiasGradient) {
  char* sums = memory(16 * sizeof(float));
  example_bias_ = sums;
  std::vector<float> numbers(16, 5.0f);
  copy_bytes(sums, numbers.data(), 16 * sizeof(float), stream_);
  EXPECT_EQ(multiply(plan(gradient()), 0, 0, sums, 0), CUBLAS_STATUS_SUCCESS);
  copy_bytes(numbers.data(), sums, 16 * sizeof(float), stream_);
  stream_.synchronize();
  EXPECT_EQ(numbers, std::vector<float>(16, 0.0f));  // of operands that are zero
}

}  // namespace
}  // namespace switchyard::ops::test
