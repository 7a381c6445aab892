#include <omp.h>

#include <functional>

#include "tests/core/ops/norm_cases.h"

namespace switchyard::ops::test {
namespace {

// d f / d at[i] by central differences.
Numbers gradient_of(const std::function<double(const Numbers&)>& f, Numbers at) {
  constexpr double step = 1e-5;
  Numbers gradient;
  for (double& x : at) {
    const double was = x;
    x = was + step;
    const double above = f(at);
    x = was - step;
    gradient.push_back((above - f(at)) / (2 * step));
    x = was;
  }
  return gradient;
}

double dot(const Numbers& a, const Numbers& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

constexpr Norm kinds[] = {Norm::layer, Norm::rms};

TEST_P(NormTest, ForwardWithAllParts) {
  for (const Norm kind : kinds) {
    for (const int64_t hidden : {1, 2, 7, 32, 45, 771, 2050}) {
      SCOPED_TRACE(hidden);
      ResidualNorm t = forward_case(kind, 19, hidden, true, true);
      t.dropout = some_dropout(19);
      t.epsilon = 1e-3f;
      residual_norm_forward(context(), t);
      expect_sum(t, values(t.residual), values(t.sum));
      expect_norm(t, values(t.sum));
    }
  }
}

TEST_P(NormTest, ForwardWithoutBranchIsAPlainNorm) {
  for (const Norm kind : kinds) {
    const ResidualNorm t = forward_case(kind, 5, 37, false, true);
    residual_norm_forward(context(), t);
    expect_norm(t, values(t.residual));
  }
}

TEST_P(NormTest, ForwardWithoutNormOrBiasAddsInPlace) {
  ResidualNorm t = forward_case(Norm::layer, 6, 21, true, false);
  t.bias = {};
  t.sum = t.residual;
  const Numbers residual = values(t.residual);
  residual_norm_forward(context(), t);
  expect_sum(t, residual, values(t.sum));
}

// A large mean with a small deviation: E[x^2] - E[x]^2 would lose the variance.
TEST_P(NormTest, VarianceDoesNotCancel) {
  ResidualNorm t = forward_case(Norm::layer, 2, 64, false, true);
  Numbers numbers(128);
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = 1024 + (i % 2 == 0 ? 8.0 : -8.0);
  assign(t.residual, numbers);
  residual_norm_forward(context(), t);
  expect_norm(t, values(t.residual));
}

TEST_P(NormBackwardTest, AgreesWithFiniteDifferences) {
  for (const Norm kind : kinds) {
    for (const int64_t hidden : {1, 3, 16, 29}) {
      SCOPED_TRACE(hidden);
      const ResidualNorm f = forward_case(kind, rows, hidden, false, true);
      residual_norm_forward(context(), f);
      ResidualNormBackward b = backward_case(f);
      b.dsum_above = bench.random({rows, hidden}, dtype());
      b.dx = bench.zeros({rows, hidden}, dtype());
      b.dbias = bench.random({hidden}, DType::f32);
      b.dropout = some_dropout(rows);
      if (kind == Norm::layer) b.dshift = bench.random({hidden}, DType::f32);
      const Numbers sum = values(f.residual), weight = values(f.weight), dy = values(b.dy);
      const Numbers shift = f.shift ? values(f.shift) : Numbers();
      const Numbers above = values(b.dsum_above), dweight = values(b.dweight);
      const Numbers dbias = values(b.dbias), dshift = f.shift ? values(b.dshift) : Numbers();
      residual_norm_backward(context(), b);

      const auto loss = [&](const Numbers& s, const Numbers& w, const Numbers& h) {
        return dot(norm_reference(kind, f.epsilon, s, w, h).y, dy) + dot(s, above);
      };
      const double relative = 2 * rounding(dtype());
      const Numbers dsum =
          gradient_of([&](const Numbers& s) { return loss(s, weight, shift); }, sum);
      expect_near(values(b.dsum), dsum, relative, hidden == 1 ? 1e-3 : 5e-5, "dsum");
      expect_added(b.dweight, dweight,
                   gradient_of([&](const Numbers& w) { return loss(sum, w, shift); }, weight),
                   "dweight");
      if (f.shift) {
        expect_added(b.dshift, dshift,
                     gradient_of([&](const Numbers& h) { return loss(sum, weight, h); }, shift),
                     "dshift");
      }
      const Numbers mask = mask_reference(b.dropout, rows, hidden);
      Numbers dx = values(b.dsum);
      Numbers columns(static_cast<size_t>(hidden), 0.0);
      for (size_t i = 0; i < dx.size(); ++i) {
        dx[i] *= mask[i];
        columns[i % static_cast<size_t>(hidden)] += dx[i];
      }
      expect_near(values(b.dx), dx, 2 * rounding(dtype()), 1e-6, "dx");
      expect_added(b.dbias, dbias, columns, "dbias");
    }
  }
}

TEST_P(NormBackwardTest, GradientMayBeInPlace) {
  const ResidualNorm f = forward_case(Norm::layer, rows, 23, false, true);
  residual_norm_forward(context(), f);
  ResidualNormBackward apart = backward_case(f);
  apart.dsum_above = bench.random({rows, 23}, dtype());
  apart.dx = bench.zeros({rows, 23}, dtype());
  ResidualNormBackward together = apart;
  together.dsum = bench.holding(values(apart.dsum_above), {rows, 23}, dtype());
  together.dsum_above = together.dsum;
  together.dx = together.dsum;
  residual_norm_backward(context(), apart);
  residual_norm_backward(context(), together);
  EXPECT_EQ(values(together.dsum), values(apart.dsum));
  EXPECT_EQ(values(apart.dx), values(apart.dsum));
}

TEST_P(NormBackwardTest, WithoutNormPassesTheGradientOn) {
  ResidualNormBackward b;
  b.dsum_above = bench.random({rows, 18}, dtype());
  b.dsum = bench.zeros({rows, 18}, dtype());
  b.dbias = bench.zeros({18}, DType::f32);
  residual_norm_backward(context(), b);
  EXPECT_EQ(values(b.dsum), values(b.dsum_above));
  const Numbers d = values(b.dsum);
  Numbers columns(18, 0.0);
  for (size_t i = 0; i < d.size(); ++i) columns[i % 18] += d[i];
  expect_near(values(b.dbias), columns, 1e-6, 1e-6);
}

TEST_P(NormBackwardTest, ThreadsDoNotChangeBitsNorAllocateTwice) {
  if (device() != Device::cpu) GTEST_SKIP() << "threads are the CPU's";
  constexpr int64_t many = 333, hidden = 70;
  const ResidualNorm f = forward_case(Norm::layer, many, hidden, false, true);
  ResidualNormBackward b = backward_case(f);
  b.dy = bench.random({many, hidden}, dtype());
  b.dsum = bench.zeros({many, hidden}, dtype());
  b.dropout = some_dropout(many);
  b.dbias = bench.zeros({hidden}, DType::f32);
  const auto run = [&](int threads) {
    omp_set_num_threads(threads);
    assign(b.dweight, Numbers(hidden, 0.0));
    assign(b.dbias, Numbers(hidden, 0.0));
    residual_norm_forward(context(), f);
    residual_norm_backward(context(), b);
    Numbers all = values(b.dweight);
    for (const Tensor& t : {b.dbias, b.dsum, f.y, f.mean}) {
      const Numbers more = values(t);
      all.insert(all.end(), more.begin(), more.end());
    }
    return all;
  };
  const int threads = omp_get_max_threads();
  const Numbers one = run(1);
  const auto allocations = memory_statistics().allocations;
  EXPECT_EQ(run(3), one);
  EXPECT_EQ(run(2), one);
  EXPECT_EQ(memory_statistics().allocations, allocations);
  omp_set_num_threads(threads);
}

TEST_P(NormTest, ForwardNamesWhatIsWrong) {
  const ResidualNorm good = forward_case(Norm::layer, 3, 8, true, true);
  const auto expect = [&](const std::function<void(ResidualNorm&)>& spoil, const char* message) {
    ResidualNorm t = good;
    spoil(t);
    expect_error([&] { residual_norm_forward(context(), t); }, message);
  };
  expect([](ResidualNorm& t) { t.residual = {}; }, "residual is missing");
  expect([](ResidualNorm& t) { t.sum = {}; }, "sum is missing");
  expect([](ResidualNorm& t) { t.y = {}; }, "y is missing");
  expect([](ResidualNorm& t) { t.mean = {}; }, "mean is missing");
  expect([](ResidualNorm& t) { t.reciprocal = {}; }, "reciprocal is missing");
  expect([](ResidualNorm& t) { t.x = {}; }, "which bias is added to");
  expect([](ResidualNorm& t) { t.weight = {}; }, "weight is missing");
  expect([](ResidualNorm& t) { t.x = t.x.slice(0, 0, 2); }, "x has shape [2, 8]; [3, 8]");
  expect([](ResidualNorm& t) { t.weight = t.weight.slice(0, 0, 7); }, "weight has shape [7]");
  expect([](ResidualNorm& t) { t.mean.dtype = DType::i32; }, "mean is i32; allowed: f32");
  expect([](ResidualNorm& t) { t.residual = t.residual.view({2, 3, 4}); }, "2 axes");
  expect([](ResidualNorm& t) { t.dropout.probability = 1; }, "0 <= p < 1");
  expect([](ResidualNorm& t) { t.dropout.probability = 0.5; }, "row_ids");
}

TEST_P(NormBackwardTest, NamesWhatIsWrong) {
  const ResidualNorm f = forward_case(Norm::layer, rows, 8, false, true);
  ResidualNormBackward good = backward_case(f);
  good.dsum_above = bench.random({rows, 8}, dtype());
  const auto expect = [&](const std::function<void(ResidualNormBackward&)>& spoil,
                          const char* message) {
    ResidualNormBackward t = good;
    spoil(t);
    expect_error([&] { residual_norm_backward(context(), t); }, message);
  };
  expect([](ResidualNormBackward& t) { t.dsum = {}; }, "dsum is missing");
  expect([](ResidualNormBackward& t) { t.dy = {}; }, "dy is missing");
  expect([](ResidualNormBackward& t) { t.dweight = {}; }, "dweight is missing");
  expect([](ResidualNormBackward& t) { t.weight = {}; }, "without a norm");
  expect([](ResidualNormBackward& t) { t.dweight.dtype = DType::f64; }, "dweight is f64");
  const Dropout dropout = some_dropout(rows);
  expect(
      [&](ResidualNormBackward& t) {
        t.dropout = dropout;
        t.dx = t.dsum;
      },
      "dx is the memory of dsum");
}

INSTANTIATE_TEST_SUITE_P(All, NormTest, testing::ValuesIn(cases()), case_name);
INSTANTIATE_TEST_SUITE_P(All, NormBackwardTest, testing::ValuesIn(cases()), case_name);

}  // namespace
}  // namespace switchyard::ops::test
