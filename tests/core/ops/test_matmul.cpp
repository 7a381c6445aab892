#include "core/ops/matmul/matmul.h"

#include <gtest/gtest.h>

#include <cmath>
#include <thread>

#include "core/ops/matmul/matmul_settings.h"
#include "core/ops/matmul/matmul_widened.h"
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

// Settings of one test.
class WithSettings {
 public:
  explicit WithSettings(const MatmulSettings& settings) : before_(matmul_settings()) {
    set_matmul_settings(settings);
  }
  ~WithSettings() { set_matmul_settings(before_); }
  WithSettings(const WithSettings&) = delete;
  WithSettings& operator=(const WithSettings&) = delete;

 private:
  MatmulSettings before_;
};

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

  bool fuses() const { return device() == Device::cpu || matmul_settings().fuse; }
};

TEST_P(FusedMatmulTest, EqualsTheFormula) { check_all(); }

TEST_P(FusedMatmulTest, TheTwinEqualsTheFormula) {
  const WithSettings unfused({.fuse = false});
  check_all();
}

TEST_P(FusedMatmulTest, ABiasBehindTheProduct) {
  const WithSettings unfused({.fuse = false});
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

TEST(MatmulSettings, RefusesAWorkspaceOutOfRange) {
  expect_error([] { set_matmul_settings({.workspace_bytes = int64_t{1} << 30}); },
               "a workspace of 1073741824 bytes; 0 to 268435456 are allowed");
}

// The inputs of TF32 have 10 bits of fraction; without the option they keep all 23.
class Tf32Test : public OpTest {};

TEST_P(Tf32Test, OnlyWhenAsked) {
  const Tensor a = bench.holding(std::vector<double>(64, 1 + 0x1p-20), {8, 8}, DType::f32);
  const Tensor c = bench.zeros({8, 8}, DType::f32);
  matmul(context(), a, a, c);
  bench.wait();
  for (const double x : values(c)) EXPECT_NEAR(x, 8 * (1 + 0x1p-19), 0x1p-19);
  const WithSettings rounded({.allow_tf32 = true});
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
