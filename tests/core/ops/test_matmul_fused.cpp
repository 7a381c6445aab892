// What follows a product: biases, gelus, bias gradients.
#include "core/ops/matmul/state.h"
#include "tests/core/ops/matmul_cases.h"

namespace switchyard::ops::test::matmul_cases {
namespace {

double gelu(double x) {
  return 0.5 * x * (1 + std::tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
}

double gelu_slope(double x) { return (gelu(x + 1e-5) - gelu(x - 1e-5)) / 2e-5; }

// Odd sizes and strides, and sizes and strides that suit every epilogue.
const std::vector<Problem> gelu_problems = {
    {3, 5, 7},          {64, 64, 64, {}, 8}, {33, 130, 65},       {70, 48, 300},
    {1, 24, 40, {}, 8}, {129, 1, 31, {}, 3}, {40, 72, 56, {}, 3}, {17, 256, 129}};

class FusedMatmulTest : public MatmulTest {
 protected:
  // What sums in fp32 may be off, and once more the rounding of a product stored in c's dtype.
  double allowed(const Problem& p, const Reference& r, size_t i, int roundings) const {
    const double sums = 0x1p-23 * std::sqrt(static_cast<double>(p.k) + 1) * r.magnitude[i];
    return sums + roundings * 1.01 * rounding(dtype()) * (std::abs(r.product[i]) + sums);
  }

  Tensor beside_c(const Problem& p) {
    const Tensor t = bench.strided({p.m, p.n}, dtype(), 2 * p.gap);
    bench.randomize(t);
    return t;
  }

  // A bias behind the product is added to a product that is rounded before.
  void check_gelu(Problem p, bool bias) {
    p.options.transpose_b = p.m % 2 == 0;
    if (bias) p.options.bias = bench.random({p.n}, dtype());
    const Operands o = operands(bench, p, dtype(), dtype());
    const Reference r = reference(p, o);
    p.options.gelu_input = beside_c(p);
    matmul(context(), o.a, o.b, o.c, p.options);
    bench.wait();
    const auto input = values(p.options.gelu_input), output = values(o.c);
    const auto biases = bias ? values(p.options.bias) : std::vector<double>(output.size());
    for (size_t i = 0; i < output.size(); ++i) {
      const double before = r.product[i] - biases[i % static_cast<size_t>(p.n)];
      const double bias_behind = bias && !fuses() ? rounding(dtype()) * std::abs(before) : 0;
      const double off = allowed(p, r, i, 1) + 1.01 * bias_behind;
      ASSERT_NEAR(input[i], r.product[i], off) << "element " << i;
      const double value = gelu(r.product[i]);
      ASSERT_NEAR(output[i], value,
                  1.13 * off + (1e-6 + rounding(dtype())) * std::abs(value) + 5e-7)
          << "element " << i << " of " << p.m << " x " << p.n << " x " << p.k;
    }
  }

  void check_gelu_gradient(Problem p) {
    p.options.transpose_b = p.m % 2 == 1;
    const Operands o = operands(bench, p, dtype(), dtype());
    const Reference r = reference(p, o);
    p.options.gelu_gradient = beside_c(p);
    const auto saved = values(p.options.gelu_gradient);
    matmul(context(), o.a, o.b, o.c, p.options);
    bench.wait();
    EXPECT_EQ(values(p.options.gelu_gradient), saved);
    const auto output = values(o.c);
    for (size_t i = 0; i < output.size(); ++i) {
      const double slope = gelu_slope(saved[i]), value = slope * r.product[i];
      const double off = std::abs(slope) * allowed(p, r, i, 1) + 4e-6 * std::abs(r.product[i]) +
                         rounding(dtype()) * std::abs(value);
      ASSERT_NEAR(output[i], value, off)
          << "element " << i << " of " << p.m << " x " << p.n << " x " << p.k;
    }
  }

  // A weight gradient into fp32 with the gradient of the bias beside it.
  void check_row_sums(Problem p, bool accumulate) {
    p.options.transpose_a = true;
    p.options.accumulate = accumulate;
    const Operands o = operands(bench, p, dtype(), DType::f32);
    p.options.row_sums = bench.random({p.m}, DType::f32);
    auto sums = values(p.options.row_sums);
    const auto a = values(o.a);
    std::vector<double> magnitudes(sums.size());
    for (size_t i = 0; i < a.size(); ++i) {
      sums[i % sums.size()] += a[i];
      magnitudes[i % sums.size()] += std::abs(a[i]);
    }
    expect_product(matmul, bench, p, o);
    const auto actual = values(p.options.row_sums);
    for (size_t i = 0; i < sums.size(); ++i) {
      ASSERT_NEAR(actual[i], sums[i],
                  0x1p-22 * (std::sqrt(static_cast<double>(p.k)) + 1) * (magnitudes[i] + 1))
          << "row " << i << " of " << p.m << " x " << p.n << " x " << p.k;
    }
  }

  void check_all() {
    for (const Problem& p : gelu_problems) {
      check_gelu(p, true);
      check_gelu(p, false);
      check_gelu_gradient(p);
      check_row_sums(p, true);
      check_row_sums(p, false);
    }
  }

  bool fuses() const { return device() == Device::cpu || matmul_state().fuse; }
  void TearDown() override { set_matmul_fusion(true); }
};

TEST_P(FusedMatmulTest, EqualsTheFormula) { check_all(); }

TEST_P(FusedMatmulTest, TheTwinEqualsTheFormula) {
  set_matmul_fusion(false);
  check_all();
}

TEST_P(FusedMatmulTest, ABiasBehindTheProduct) {
  set_matmul_fusion(false);
  for (Problem p : gelu_problems) {
    p.options.transpose_b = true;
    p.options.bias = bench.random({p.n}, dtype());
    const Operands o = operands(bench, p, dtype(), DType::f32);  // rounds once, whatever the path
    expect_product(matmul, bench, p, o);
  }
}

// Addresses that no vector access may read.
TEST_P(FusedMatmulTest, MisalignedOperands) {
  const auto off_by_one = [&](const Shape& shape, DType type) {
    const Tensor whole = bench.random({shape[0] * shape[1] + 1}, type);
    return whole.slice(0, 1, whole.shape[0]).view(shape);
  };
  Problem p{24, 32, 40, {.transpose_b = true}};
  p.options.bias = off_by_one({1, p.n}, dtype()).view({p.n});
  const Operands o{off_by_one({p.m, p.k}, dtype()), off_by_one({p.n, p.k}, dtype()),
                   off_by_one({p.m, p.n}, dtype())};
  const Reference r = reference(p, o);
  p.options.gelu_input = off_by_one({p.m, p.n}, dtype());
  matmul(context(), o.a, o.b, o.c, p.options);
  bench.wait();
  const auto input = values(p.options.gelu_input);
  for (size_t i = 0; i < input.size(); ++i) {
    ASSERT_NEAR(input[i], r.product[i], allowed(p, r, i, 1)) << "element " << i;
  }
}

TEST_P(FusedMatmulTest, EmptyOperandsLeaveNoBiasGradientOut) {
  const Tensor a = bench.random({5, 3}, dtype()), sums = bench.zeros({3}, DType::f32);
  matmul(context(), a, bench.zeros({5, 0}, dtype()), bench.zeros({3, 0}, DType::f32),
         {.transpose_a = true, .accumulate = true, .row_sums = sums});
  bench.wait();
  const auto numbers = values(a);
  std::vector<double> expected(3);
  for (size_t i = 0; i < numbers.size(); ++i) expected[i % 3] += numbers[i];
  expect_near(values(sums), expected, 1e-6, 1e-6);
}

TEST_P(FusedMatmulTest, NamesWhatDoesNotFit) {
  const Tensor a = bench.zeros({4, 5}, dtype()), b = bench.zeros({5, 6}, dtype());
  const Tensor c = bench.zeros({4, 6}, dtype()), beside = bench.zeros({4, 6}, dtype());
  const Tensor bias = bench.zeros({6}, dtype()), sums = bench.zeros({4}, DType::f32);
  const auto refused = [&](const MatmulOptions& options, const std::string& part) {
    expect_error([&] { matmul(context(), a, b, c, options); }, part);
  };
  refused({.accumulate = true, .gelu_input = beside}, "gelu_input together with accumulate");
  refused({.accumulate = true, .gelu_gradient = beside}, "gelu_gradient together with accumulate");
  refused({.gelu_input = c}, "gelu_input is c's memory");
  refused({.gelu_gradient = c}, "gelu_gradient is c's memory");
  refused({.gelu_input = beside.view({6, 4})}, "gelu_input has shape [6, 4]; [4, 6] is allowed");
  refused({.gelu_input = bench.zeros({4, 6}, DType::f64)}, "gelu_input is f64");
  refused({.bias = bias, .gelu_gradient = beside}, "it stands alone");
  refused({.gelu_input = bench.zeros({4, 6}, dtype()), .gelu_gradient = beside}, "it stands alone");
  refused({.row_sums = sums}, "row_sums without transpose_a");
  const Tensor transposed = bench.zeros({5, 4}, dtype());
  const auto gradient = [&](const MatmulOptions& options, const std::string& part) {
    expect_error([&] { matmul(context(), transposed, b, c, options); }, part);
  };
  gradient({.transpose_a = true, .bias = bias, .row_sums = sums}, "they stand alone");
  gradient({.transpose_a = true, .gelu_input = beside, .row_sums = sums}, "they stand alone");
  gradient({.transpose_a = true, .row_sums = bench.zeros({6}, DType::f32)},
           "row_sums has shape [6]; [4] is allowed");
  gradient({.transpose_a = true, .row_sums = bench.zeros({4}, DType::f64)}, "row_sums is f64");
}

TEST_P(FusedMatmulTest, RepeatedCallsAllocateNothing) {
  Problem p{48, 64, 56, {.transpose_b = true}};
  p.options.bias = bench.random({p.n}, dtype());
  const Operands o = operands(bench, p, dtype(), dtype());
  p.options.gelu_input = beside_c(p);
  const Tensor gradient = bench.zeros({p.n, p.k}, DType::f32);
  const Tensor sums = bench.zeros({p.n}, DType::f32);
  const auto step = [&] {
    matmul(context(), o.a, o.b, o.c, p.options);
    matmul(context(), o.c, o.a, gradient,
           {.transpose_a = true, .accumulate = true, .row_sums = sums});
    bench.wait();
  };
  step();
  step();
  const auto allocations = memory_statistics().allocations;
  step();
  EXPECT_EQ(memory_statistics().allocations, allocations);
}

INSTANTIATE_TEST_SUITE_P(All, FusedMatmulTest, testing::ValuesIn(cases()), case_name);

}  // namespace
}  // namespace switchyard::ops::test::matmul_cases
