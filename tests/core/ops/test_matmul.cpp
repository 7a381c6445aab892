#include <thread>

#include "core/ops/matmul/settings.h"
#include "core/ops/matmul/widened.h"
#include "tests/core/ops/matmul_cases.h"

namespace switchyard::ops::test::matmul_cases {
namespace {

TEST_P(MatmulTest, EveryLayout) { check_layouts(matmul, dtype()); }

TEST_P(MatmulTest, EveryLayoutToF32) { check_layouts(matmul, DType::f32); }

TEST_P(MatmulTest, BiasOfEitherDtype) {
  check_bias(matmul, dtype(), dtype());
  check_bias(matmul, DType::f32, DType::f32);
  check_bias(matmul, DType::f32, dtype());
}

TEST_P(MatmulTest, LeavesMemoryBetweenRowsAlone) {
  const Problem p{5, 6, 7, {}, 4};
  const Operands o = operands(bench, p, dtype(), dtype());
  Tensor whole = o.c;
  whole.shape[1] = p.n + 3 * p.gap;
  matmul(context(), o.a, o.b, o.c);
  bench.wait();
  const auto between = values(whole.slice(1, p.n, whole.shape[1]));
  EXPECT_EQ(between, std::vector<double>(between.size(), 0.0));
}

TEST_P(MatmulTest, EmptyMatrices) {
  const Tensor c = bench.random({2, 3}, DType::f32);
  const auto before = values(c);
  const Tensor a = bench.zeros({0, 2}, dtype()), b = bench.zeros({0, 3}, dtype());
  matmul(context(), a, b, c, {.transpose_a = true, .accumulate = true});
  EXPECT_EQ(values(c), before);
  expect_error([&] { matmul(context(), a, b, c, {.transpose_a = true}); }, "a sum over nothing");
  matmul(context(), a, bench.zeros({2, 3}, dtype()), bench.zeros({0, 3}, dtype()));
}

TEST_P(MatmulTest, NamesWhatDoesNotFit) {
  const Tensor a = bench.zeros({4, 5}, dtype()), b = bench.zeros({5, 6}, dtype());
  const Tensor c = bench.zeros({4, 6}, dtype());
  const auto product = [&](const Tensor& x, const Tensor& y, const Tensor& z,
                           MatmulOptions options = {}) {
    return [this, x, y, z, options] { matmul(context(), x, y, z, options); };
  };
  expect_error(product(a, b, c, {.transpose_b = true}), "b has shape [5, 6]; [6, 5] is allowed");
  expect_error(product(b, b, c), "a has shape [5, 6]; [4, 6] is allowed");
  expect_error(product(a.view({20}), b, c), "a has shape [20]; 2 axes are allowed");
  expect_error(product(a, b, bench.zeros({4, 6}, DType::i32)), "c is i32; allowed: f32");
  expect_error(product(a, bench.zeros({5, 6}, DType::f64), c), "b is f64; allowed");
  expect_error(product(a, b, c, {.bias = bench.zeros({5}, dtype())}),
               "bias has shape [5]; [6] is allowed");
  expect_error(product(a, b, c, {.accumulate = true, .bias = bench.zeros({6}, dtype())}),
               "a bias together with accumulate");
  Tensor wide = a;
  wide.stride = {1, 4};
  expect_error(product(wide, b, c), "a has a stride of 4 on its last axis");
}

TEST_P(MatmulTest, RepeatedCallsAllocateNothingAndGiveTheSameBits) {
  const Problem p{200, 150, 300, {.transpose_a = true}};
  const Operands o = operands(bench, p, dtype(), DType::f32);
  matmul(context(), o.a, o.b, o.c, p.options);
  bench.wait();
  const auto first = values(o.c);
  matmul(context(), o.a, o.b, o.c, p.options);  // scratch joins its blocks after its first use
  const auto allocations = memory_statistics().allocations;
  matmul(context(), o.a, o.b, o.c, p.options);
  bench.wait();
  EXPECT_EQ(values(o.c), first);
  EXPECT_EQ(memory_statistics().allocations, allocations);
}

INSTANTIATE_TEST_SUITE_P(All, MatmulTest, testing::ValuesIn(cases()), case_name);

// The path of processors without bf16 products, forced on this one.
class WidenedMatmulTest : public MatmulTest {};

TEST_P(WidenedMatmulTest, EveryLayout) { check_layouts(cpu::matmul_widened, dtype()); }

TEST_P(WidenedMatmulTest, EveryLayoutToF32) { check_layouts(cpu::matmul_widened, DType::f32); }

TEST_P(WidenedMatmulTest, BiasOfEitherDtype) {
  check_bias(cpu::matmul_widened, dtype(), dtype());
  check_bias(cpu::matmul_widened, DType::f32, DType::f32);
}

TEST_P(WidenedMatmulTest, SeveralTiles) {
  for (const DType output : {DType::f32, DType::bf16}) {
    for (const Problem& p : {Problem{1030, 3, 20}, {3, 1030, 20}, {5, 6, 2100}}) {
      Problem with_bias = p;
      with_bias.options.bias = bench.random({p.n}, DType::bf16);
      expect_product(cpu::matmul_widened, bench, with_bias,
                     operands(bench, with_bias, dtype(), output));
      Problem adding = p;
      adding.options.accumulate = true;
      expect_product(cpu::matmul_widened, bench, adding, operands(bench, adding, dtype(), output));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, WidenedMatmulTest, testing::Values(Case{Device::cpu, DType::bf16}),
                         case_name);

TEST(MatmulThreads, RanksAsThreadsShareThePrimitives) {
  std::vector<std::thread> ranks;
  std::vector<std::vector<double>> results(4);
  for (auto& result : results) {
    ranks.emplace_back([&result] {
      Workbench bench;
      for (int64_t m = 1; m < 12; ++m) {
        const Problem p{m, 40, 50};
        const Operands o = operands(bench, p, DType::f32, DType::f32);
        matmul(bench.context(), o.a, o.b, o.c);
        const auto part = values(o.c);
        result.insert(result.end(), part.begin(), part.end());
      }
    });
  }
  for (auto& rank : ranks) rank.join();
  for (const auto& result : results) EXPECT_EQ(result, results[0]);
}

// The inputs of TF32 have 10 bits of fraction; without the option they keep all 23.
class Tf32Test : public OpTest {
 protected:
  void TearDown() override { set_allow_tf32(false); }
};

TEST_P(Tf32Test, OnlyWhenAsked) {
  const Tensor a = bench.holding(std::vector<double>(64, 1 + 0x1p-20), {8, 8}, DType::f32);
  const Tensor c = bench.zeros({8, 8}, DType::f32);
  matmul(context(), a, a, c);
  bench.wait();
  for (const double x : values(c)) EXPECT_NEAR(x, 8 * (1 + 0x1p-19), 0x1p-19);
  set_allow_tf32(true);
  matmul(context(), a, a, c);
  bench.wait();
  for (const double x : values(c)) EXPECT_NEAR(x, 8, 0x1p-7);
}

std::vector<Case> f32_on_gpus() {
  if (!is_available(Device::cuda)) return {};
  return {{Device::cuda, DType::f32}};
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Tf32Test);
INSTANTIATE_TEST_SUITE_P(All, Tf32Test, testing::ValuesIn(f32_on_gpus()), case_name);

}  // namespace
}  // namespace switchyard::ops::test::matmul_cases
