#include "core/ops/matmul.h"

#include <gtest/gtest.h>

#include <cmath>
#include <thread>

#include "core/ops/matmul_widened.h"
#include "tests/core/ops/op_test.h"

namespace switchyard::ops::test {
namespace {

struct Problem {
  int64_t m, n, k;
  MatmulOptions options = {};
  int64_t gap = 0;  // extra elements between rows
};

struct Operands {
  Tensor a, b, c;
};

Operands operands(Workbench& bench, const Problem& p, DType inputs, DType output) {
  Operands o;
  const auto& options = p.options;
  o.a = bench.strided(options.transpose_a ? Shape{p.k, p.m} : Shape{p.m, p.k}, inputs, p.gap);
  o.b = bench.strided(options.transpose_b ? Shape{p.n, p.k} : Shape{p.k, p.n}, inputs, 2 * p.gap);
  o.c = bench.strided({p.m, p.n}, output, 3 * p.gap);
  for (const Tensor& t : {o.a, o.b, o.c}) bench.randomize(t);
  return o;
}

// The product in float64, and beside it the sum of magnitudes, which bounds the rounding errors.
struct Reference {
  std::vector<double> product, magnitude;
};

Reference reference(const Problem& p, const Operands& o) {
  const auto a = values(o.a), b = values(o.b), c = values(o.c);
  const auto bias = p.options.bias ? values(p.options.bias) : std::vector<double>();
  Reference r;
  for (int64_t i = 0; i < p.m; ++i) {
    for (int64_t j = 0; j < p.n; ++j) {
      double sum = p.options.accumulate ? c.at(static_cast<size_t>(i * p.n + j)) : 0;
      if (!bias.empty()) sum += bias.at(static_cast<size_t>(j));
      double magnitude = std::abs(sum);
      for (int64_t l = 0; l < p.k; ++l) {
        const double x = a[static_cast<size_t>(p.options.transpose_a ? l * p.m + i : i * p.k + l)];
        const double y = b[static_cast<size_t>(p.options.transpose_b ? j * p.k + l : l * p.n + j)];
        sum += x * y;
        magnitude += std::abs(x * y);
      }
      r.product.push_back(sum);
      r.magnitude.push_back(magnitude);
    }
  }
  return r;
}

using Operator = decltype(matmul);

// Sums in fp32 are off by sqrt(k) roundings of the magnitude at most, then c is rounded once.
void expect_product(Operator& multiply, Workbench& bench, const Problem& p, const Operands& o) {
  const Reference r = reference(p, o);
  multiply(bench.context(), o.a, o.b, o.c, p.options);
  bench.wait();
  const auto actual = values(o.c);
  const double sums = 0x1p-23 * std::sqrt(static_cast<double>(p.k) + 1);
  for (size_t i = 0; i < actual.size(); ++i) {
    const double allowed =
        sums * r.magnitude[i] + 1.01 * rounding(o.c.dtype) * std::abs(r.product[i]);
    ASSERT_NEAR(actual[i], r.product[i], allowed)
        << "element " << i << " of " << p.m << " x " << p.n << " x " << p.k;
  }
}

const std::vector<Problem> problems = {{1, 1, 1},     {3, 5, 7},    {64, 64, 64}, {33, 130, 65},
                                       {1, 100, 257}, {129, 1, 31}, {70, 48, 300}};

class MatmulTest : public OpTest {
 protected:
  void check_layouts(Operator& multiply, DType output) {
    for (Problem p : problems) {
      for (int layout = 0; layout < 8; ++layout) {
        p.options = {(layout & 1) != 0, (layout & 2) != 0, (layout & 4) != 0};
        p.gap = (layout + p.m) % 2 * 3;
        expect_product(multiply, bench, p, operands(bench, p, dtype(), output));
      }
    }
  }

  void check_bias(Operator& multiply, DType output, DType bias) {
    for (Problem p : problems) {
      p.options.transpose_b = true;
      p.options.bias = bench.random({p.n}, bias);
      expect_product(multiply, bench, p, operands(bench, p, dtype(), output));
    }
  }
};

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

}  // namespace
}  // namespace switchyard::ops::test
