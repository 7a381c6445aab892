#include "core/ops/matmul/plan.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/core/ops/matmul_products.h"

namespace switchyard::ops::test {
namespace {

constexpr int64_t workspace = int64_t{64} << 20;

MatmulProduct forward(int64_t rows, int64_t in, int64_t out, DType dtype) {
  return linear_products(rows, in, out, dtype)[0].dense();
}

MatmulProduct with_gelu(MatmulProduct p) {
  p.bias = p.gelu_input = true;
  return p.dense();
}

TEST(MatmulPlan, RowMajorProductsAsColumnMajorOnes) {
  MatmulProduct p;
  p.m = 8192;
  p.n = 3072;
  p.k = 768;
  p.transpose_b = true;
  p.inputs = p.output = DType::bf16;
  p.bias = true;
  const MatmulPlan plan = plan_matmul(p.dense(), Fusion::full, workspace);
  EXPECT_EQ(
      plan.to_string(),
      "D [3072, 8192] bf16 ld 3072 = A^T [768, 3072] bf16 ld 768 x B [768, 8192] bf16 ld 768, "
      "beta 0, BIAS");
}

TEST(MatmulPlan, AWeightGradientAddsInFp32) {
  const MatmulProduct p = linear_products(8192, 768, 3072, DType::bf16)[3].dense();
  const MatmulPlan plan = plan_matmul(p, Fusion::full, workspace);
  EXPECT_EQ(plan.to_string(),
            "D [768, 3072] f32 ld 768 = A [768, 8192] bf16 ld 768 x B^T [3072, 8192] bf16 ld 3072, "
            "beta 1, BGRADB");
}

TEST(MatmulPlan, StridedRowsAreLeadingDimensions) {
  MatmulProduct p = forward(10, 20, 30, DType::bf16);
  p.row_a = 24;
  p.row_b = 32;
  p.row_c = 40;
  const MatmulPlan plan = plan_matmul(p, Fusion::full, workspace);
  EXPECT_EQ(plan.a.ld, 32);
  EXPECT_EQ(plan.b.ld, 24);
  EXPECT_EQ(plan.d.ld, 40);
}

TEST(MatmulPlan, GeluGoesWithTheProductWhereItsInputIsAligned) {
  const MatmulProduct p = with_gelu(forward(64, 768, 3072, DType::bf16));
  const MatmulPlan plan = plan_matmul(p, Fusion::full, workspace);
  EXPECT_EQ(plan.epilogue, Epilogue::gelu_aux_bias);
  EXPECT_EQ(plan.ld_aux, 3072);
  EXPECT_FALSE(plan.behind());
  EXPECT_EQ(plan.why_behind, "");
}

// Each rule that keeps a gelu out, and what is left: the bias with the product, the gelu behind it,
// and the product where the gelu's input is saved.
TEST(MatmulPlan, RulesThatKeepAGeluOut) {
  const MatmulProduct good = with_gelu(forward(64, 768, 3072, DType::bf16));
  const auto expect_behind = [](const MatmulProduct& p, const std::string& why) {
    const MatmulPlan plan = plan_matmul(p, Fusion::full, workspace);
    EXPECT_EQ(plan.fusion, Fusion::bias) << why;
    EXPECT_EQ(plan.epilogue, Epilogue::bias);
    EXPECT_TRUE(plan.gelu_behind);
    EXPECT_FALSE(plan.bias_behind);
    EXPECT_EQ(plan.d.ld, p.row_gelu);
    EXPECT_EQ(plan.ld_aux, 0);
    EXPECT_EQ(plan.why_behind, why);
  };
  MatmulProduct odd = good;
  odd.row_gelu = 3076;
  expect_behind(odd, "rows of the gelu's input lie 3076 elements apart, no multiple of 8");
  MatmulProduct misaligned = good;
  misaligned.align_gelu = 4;
  expect_behind(misaligned, "the gelu's input is aligned to 4 bytes, not to 16");
  MatmulProduct single = good;
  single.inputs = single.output = DType::f32;
  expect_behind(single, "gelu epilogues take 16-bit inputs and outputs, not f32 to f32");
  MatmulProduct mixed = good;
  mixed.output = DType::f32;
  expect_behind(mixed, "gelu epilogues take 16-bit inputs and outputs, not bf16 to f32");
}

TEST(MatmulPlan, AGeluGradientIsNeverTogetherWithABiasGradient) {
  MatmulProduct p = linear_products(64, 3072, 768, DType::bf16)[1];
  p.gelu_gradient = true;
  EXPECT_EQ(plan_matmul(p.dense(), Fusion::full, workspace).epilogue, Epilogue::dgelu);
  EXPECT_EQ(plan_matmul(p.dense(), Fusion::bias, workspace).epilogue, Epilogue::none);
  EXPECT_TRUE(plan_matmul(p.dense(), Fusion::bias, workspace).gelu_gradient_behind);
}

TEST(MatmulPlan, ABiasGradientIsNeverRounded) {
  MatmulProduct p = linear_products(64, 768, 3072, DType::bf16)[3].dense();
  EXPECT_EQ(plan_matmul(p, Fusion::full, workspace).epilogue, Epilogue::bgradb);
  p.output = DType::bf16;
  const MatmulPlan plan = plan_matmul(p, Fusion::full, workspace);
  EXPECT_EQ(plan.epilogue, Epilogue::none);
  EXPECT_TRUE(plan.row_sums_behind);
  EXPECT_EQ(plan.why_behind, "the bias gradient would be rounded to bf16");
}

TEST(MatmulPlan, PlansFromTheMostFusedToTheLeast) {
  const auto epilogues = [](const MatmulProduct& p) {
    std::vector<Epilogue> all;
    for (const MatmulPlan& plan : plans_of(p, workspace)) all.push_back(plan.epilogue);
    return all;
  };
  using enum Epilogue;
  MatmulProduct p = forward(64, 768, 3072, DType::bf16);
  EXPECT_EQ(epilogues(p), (std::vector{bias, none}));
  EXPECT_EQ(epilogues(with_gelu(p)), (std::vector{gelu_aux_bias, bias, none}));
  p.bias = false;
  EXPECT_EQ(epilogues(p), (std::vector{none}));
  p.gelu_input = true;
  EXPECT_EQ(epilogues(p.dense()), (std::vector{gelu_aux, none}));
  EXPECT_EQ(epilogues(linear_products(64, 768, 768, DType::bf16)[3].dense()),
            (std::vector{bgradb, none}));
}

TEST(MatmulPlan, EveryPartIsEitherFusedOrBehind) {
  for (const MatmulProduct& p : model_products()) {
    for (const MatmulPlan& plan : plans_of(p, workspace)) {
      const bool adds_bias =
          plan.epilogue == Epilogue::bias || plan.epilogue == Epilogue::gelu_aux_bias;
      const bool gelu =
          plan.epilogue == Epilogue::gelu_aux || plan.epilogue == Epilogue::gelu_aux_bias;
      EXPECT_EQ(p.bias, adds_bias != plan.bias_behind) << plan.to_string();
      EXPECT_EQ(p.gelu_input, gelu != plan.gelu_behind) << plan.to_string();
      EXPECT_EQ(p.gelu_gradient, (plan.epilogue == Epilogue::dgelu) != plan.gelu_gradient_behind);
      EXPECT_EQ(p.row_sums, (plan.epilogue == Epilogue::bgradb) != plan.row_sums_behind);
    }
  }
}

// Of the three models on one GPU and split over eight: every operand is read in whole 16-byte
// accesses, and nothing that may be fused is left behind.
TEST(MatmulPlan, ProductsOfTheModelsSuitTensorCores) {
  for (const MatmulProduct& p : model_products()) {
    if (p.inputs == DType::f32) continue;
    const MatmulPlan plan = plan_matmul(p, Fusion::full, workspace);
    for (const MatmulPlan::Matrix* x : {&plan.a, &plan.b, &plan.d}) {
      EXPECT_EQ(x->ld * size_of(x->dtype) % 16, 0) << plan.to_string();
      EXPECT_EQ(x->alignment, 16);
    }
    EXPECT_FALSE(plan.behind()) << plan.to_string();
  }
}

TEST(MatmulPlan, DescribesACallByItsAddresses) {
  alignas(64) static char memory[1 << 12];
  const auto at = [](int64_t offset, DType dtype, const Shape& shape) {
    return Tensor(memory + offset, dtype, shape, Device::cuda);
  };
  const Tensor a = at(0, DType::bf16, {4, 8}), b = at(4, DType::bf16, {6, 8});
  const Tensor c = at(2, DType::bf16, {4, 16}).slice(1, 0, 6);
  MatmulOptions options{.transpose_b = true};
  options.gelu_input = at(8, DType::bf16, {4, 6});
  const MatmulProduct p = describe_product(a, b, c, options, true);
  EXPECT_EQ(p.align_a, 16);
  EXPECT_EQ(p.align_b, 4);
  EXPECT_EQ(p.align_c, 2);
  EXPECT_EQ(p.align_gelu, 8);
  EXPECT_EQ(p.row_c, 16);
  EXPECT_EQ(p.row_gelu, 6);
  EXPECT_FALSE(p.tf32);  // of f32 alone
  EXPECT_EQ(p.to_string(), "[4, 8] x [8, 6] transposed of bf16 to bf16, gelu");
}

// The step between rows of a single row is nobody's business: the same entry for any.
TEST(MatmulPlan, ASingleRowHasNoStride) {
  alignas(64) static char memory[1 << 10];
  const Tensor wide(memory, DType::f32, {1, 40}, Device::cuda);
  const Tensor b(memory, DType::f32, {13, 13}, Device::cuda);
  Tensor narrow = wide.slice(1, 0, 13);
  const MatmulProduct p = describe_product(narrow, b, narrow, {}, false);
  narrow.stride[0] = 13;
  EXPECT_EQ(p, describe_product(narrow, b, narrow, {}, false));
  EXPECT_EQ(p.row_a, 16);
}

}  // namespace
}  // namespace switchyard::ops::test
