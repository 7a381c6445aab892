#include "core/ops/activation.h"

#include <omp.h>

#include <cmath>
#include <limits>
#include <numbers>

#include "tests/core/ops/op_test.h"

namespace switchyard::ops::test {
namespace {

constexpr Activation gelus[] = {Activation::gelu_tanh, Activation::gelu_erf};

double gelu(Activation kind, double x) {
  if (kind == Activation::gelu_erf) return 0.5 * x * std::erfc(-x / std::numbers::sqrt2);
  const double u = std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x);
  return 0.5 * x * (1 + std::tanh(u));
}

double silu(double x) { return x / (1 + std::exp(-x)); }

// y [rows, width] of x, in float64.
std::vector<double> reference(Activation kind, const std::vector<double>& x, size_t rows) {
  if (kind != Activation::swiglu) {
    std::vector<double> y;
    for (const double value : x) y.push_back(gelu(kind, value));
    return y;
  }
  const size_t width = x.size() / rows / 2;
  std::vector<double> y;
  for (size_t row = 0; row < rows; ++row) {
    for (size_t i = 0; i < width; ++i) {
      const double* gate = &x[row * 2 * width];
      y.push_back(silu(gate[i]) * gate[width + i]);
    }
  }
  return y;
}

// The gradient of sum(dy * y) by central differences of the reference.
std::vector<double> slopes(Activation kind, std::vector<double> x, const std::vector<double>& dy,
                           size_t rows) {
  constexpr double h = 1e-5;
  const auto objective = [&] {
    const std::vector<double> y = reference(kind, x, rows);
    double sum = 0;
    for (size_t i = 0; i < y.size(); ++i) sum += y[i] * dy[i];
    return sum;
  };
  std::vector<double> result;
  for (double& value : x) {
    const double kept = value;
    value = kept + h;
    const double above = objective();
    value = kept - h;
    const double below = objective();
    value = kept;
    result.push_back((above - below) / (2 * h));
  }
  return result;
}

class ActivationTest : public OpTest {};

TEST_P(ActivationTest, ForwardEqualsTheFormula) {
  for (const Activation kind : {gelus[0], gelus[1], Activation::swiglu}) {
    for (const int64_t width : {1, 7, 16, 61, 1030, 9000}) {
      const Tensor x =
          bench.random({3, kind == Activation::swiglu ? 2 * width : width}, dtype(), 3);
      const Tensor y = bench.zeros({3, width}, dtype());
      activation_forward(context(), kind, x, y);
      bench.wait();
      expect_near(values(y), reference(kind, values(x), 3), 8e-7 + rounding(dtype()), 5e-7);
    }
  }
}

TEST_P(ActivationTest, BackwardEqualsFiniteDifferences) {
  for (const Activation kind : {gelus[0], gelus[1], Activation::swiglu}) {
    for (const int64_t width : {1, 7, 19, 33}) {
      const Tensor x =
          bench.random({2, kind == Activation::swiglu ? 2 * width : width}, dtype(), 2);
      const Tensor dy = bench.random({2, width}, dtype());
      const Tensor dx = bench.zeros(x.shape, dtype());
      activation_backward(context(), kind, x, dy, dx);
      bench.wait();
      const auto wanted = slopes(kind, values(x), values(dy), 2);
      expect_near(values(dx), wanted, 2e-6 + rounding(dtype()), 2e-6);
      activation_backward(context(), kind, x, dy, x);  // in place
      bench.wait();
      EXPECT_EQ(values(x), values(dx));
    }
  }
}

TEST_P(ActivationTest, RowsMayBeStrided) {
  for (const Activation kind : {gelus[0], gelus[1], Activation::swiglu}) {
    const int64_t width = kind == Activation::swiglu ? 26 : 13;
    const Tensor x = bench.strided({4, width}, dtype(), 5);
    const Tensor y = bench.strided({4, 13}, dtype(), 3);
    bench.randomize(x);
    activation_forward(context(), kind, x, y);
    bench.wait();
    expect_near(values(y), reference(kind, values(x), 4), 1e-6 + rounding(dtype()), 1e-6);
  }
}

TEST_P(ActivationTest, ExtremeInputsSaturate) {
  const double far = dtype() == DType::f16 ? 6e4 : 1e19;
  const std::vector<double> x{-1e4, 1e4, -100, 100, -30, 30, 0, far, -far};
  for (const Activation kind : gelus) {
    const Tensor in = bench.holding(x, {1, 9}, dtype());
    const Tensor out = bench.zeros(in.shape, dtype());
    activation_forward(context(), kind, in, out);
    bench.wait();
    std::vector<double> wanted = values(in);
    for (double& value : wanted) value = std::max(value, 0.0);
    expect_near(values(out), wanted, 0, 1e-18);
    const Tensor dy = bench.holding(std::vector<double>(9, 1.0), {1, 9}, dtype());
    activation_backward(context(), kind, in, dy, out);
    bench.wait();
    expect_near(values(out), {0, 1, 0, 1, 0, 1, 0.5, 1, 0}, 0, 1e-18);
  }
  const Tensor in = bench.holding({-1e4, 1e4, -100, 2, 3, 4}, {1, 6}, dtype());
  const Tensor out = bench.zeros({1, 3}, dtype());
  activation_forward(context(), Activation::swiglu, in, out);
  bench.wait();
  expect_near(values(out), {0, values(in)[1] * 3, 0}, rounding(dtype()), 1e-18);
}

TEST_P(ActivationTest, NotANumberStaysOne) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Tensor x = bench.holding({nan, 1, nan, 1}, {1, 4}, dtype());
  for (const Activation kind : {gelus[0], gelus[1], Activation::swiglu}) {
    const int64_t width = kind == Activation::swiglu ? 2 : 4;
    const Tensor y = bench.zeros({1, width}, dtype());
    const Tensor dx = bench.zeros({1, 4}, dtype());
    activation_forward(context(), kind, x, y);
    activation_backward(context(), kind, x, y, dx);
    bench.wait();
    EXPECT_TRUE(std::isnan(values(y)[0]));
    EXPECT_TRUE(std::isnan(values(dx)[0]));
    EXPECT_FALSE(std::isnan(values(dx)[1]));
  }
}

TEST_P(ActivationTest, ThreadsDoNotChangeBits) {
  const Tensor x = bench.random({37, 2 * 515}, dtype());
  const Tensor one = bench.zeros({37, 515}, dtype());
  const Tensor three = bench.zeros({37, 515}, dtype());
  const int threads = omp_get_max_threads();
  omp_set_num_threads(1);
  activation_forward(context(), Activation::swiglu, x, one);
  omp_set_num_threads(3);
  activation_forward(context(), Activation::swiglu, x, three);
  omp_set_num_threads(threads);
  bench.wait();
  EXPECT_EQ(values(one), values(three));
}

TEST_P(ActivationTest, ErrorsNameWhatWasGiven) {
  const auto& c = context();
  const Tensor x = bench.zeros({2, 7}, dtype());
  const Tensor y = bench.zeros({2, 6}, dtype());
  const Tensor ids = bench.zeros({2, 7}, DType::i32);
  expect_error([&] { activation_forward(c, gelus[0], x, y); }, "y has shape [2, 6]; [2, 7] is");
  expect_error([&] { activation_forward(c, Activation::swiglu, x, y); }, "even number");
  expect_error([&] { activation_forward(c, gelus[0], ids, ids); }, "x is i32");
  expect_error([&] { activation_backward(c, gelus[0], x, x, ids); }, "dx is i32");
  expect_error([&] { activation_backward(c, gelus[0], x, y, x); }, "dy has shape [2, 6]");
}

INSTANTIATE_TEST_SUITE_P(All, ActivationTest, testing::ValuesIn(cases()), case_name);

}  // namespace
}  // namespace switchyard::ops::test
