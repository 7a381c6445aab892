#include "core/ops/cross_entropy.h"

#include <omp.h>

#include <limits>

#include "core/ops/cross_entropy_launch.h"
#include "tests/core/ops/op_test.h"

namespace switchyard::ops::test {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

double log_sum_of(const double* x, size_t columns) {
  const double top = *std::max_element(x, x + columns);
  double sum = 0;
  for (size_t i = 0; i < columns; ++i) sum += std::exp(x[i] - top);
  return top + std::log(sum);
}

struct Result {
  std::vector<double> log_sum, loss, gradient;
};

Result reference(const std::vector<double>& logits, const std::vector<double>& targets) {
  const size_t columns = logits.size() / targets.size();
  Result r{{}, {}, std::vector<double>(logits.size())};
  for (size_t row = 0; row < targets.size(); ++row) {
    const double* x = &logits[row * columns];
    r.log_sum.push_back(log_sum_of(x, columns));
    r.loss.push_back(0);
    if (targets[row] < 0) continue;
    const auto target = static_cast<size_t>(targets[row]);
    r.loss.back() = r.log_sum.back() - x[target];
    for (size_t i = 0; i < columns; ++i) {
      r.gradient[row * columns + i] = std::exp(x[i] - r.log_sum.back()) - (i == target ? 1 : 0);
    }
  }
  return r;
}

class CrossEntropyTest : public OpTest {
 protected:
  // Runs both passes over the columns cut at `cuts`, each part `padding` columns wider than it is.
  Result run(const Tensor& logits, const std::vector<double>& targets,
             const std::vector<int64_t>& cuts, int64_t padding = 0) {
    const int64_t rows = logits.shape[0];
    const auto parts = static_cast<int64_t>(cuts.size()) - 1;
    const Tensor wanted = bench.holding(targets, {rows}, DType::i32);
    const Tensor statistics = bench.random({parts, rows, 3}, DType::f32);
    const Tensor log_sum = bench.zeros({rows}, DType::f32);
    const Tensor loss = bench.zeros({rows}, DType::f32);
    std::vector<Tensor> pieces;
    for (int64_t p = 0; p < parts; ++p) {
      pieces.push_back(padded(logits, cuts[size_t(p)], cuts[size_t(p) + 1], padding));
      cross_entropy_statistics(context(), pieces.back(), wanted, part(cuts, p),
                               statistics.slice(0, p, p + 1).view({rows, 3}));
    }
    cross_entropy_combine(context(), statistics, wanted, log_sum, loss);
    for (int64_t p = 0; p < parts; ++p) {
      cross_entropy_gradient(context(), pieces[size_t(p)], wanted, part(cuts, p), log_sum);
    }
    bench.wait();
    return {values(log_sum), values(loss), joined(pieces, cuts, rows, logits.shape[1])};
  }

 private:
  static VocabularyPart part(const std::vector<int64_t>& cuts, int64_t p) {
    return {cuts[size_t(p)], cuts[size_t(p) + 1] - cuts[size_t(p)]};
  }

  Tensor padded(const Tensor& logits, int64_t begin, int64_t end, int64_t padding) {
    const Tensor piece = bench.random({logits.shape[0], end - begin + padding}, dtype(), 1e4);
    assign(piece.slice(1, 0, end - begin), values(logits.slice(1, begin, end)));
    return piece;
  }

  // The gradients side by side; what lies in padding columns must be 0.
  std::vector<double> joined(const std::vector<Tensor>& pieces, const std::vector<int64_t>& cuts,
                             int64_t rows, int64_t columns) {
    const Tensor all = bench.zeros({rows, columns}, dtype());
    for (size_t p = 0; p < pieces.size(); ++p) {
      const int64_t valid = cuts[p + 1] - cuts[p];
      assign(all.slice(1, cuts[p], cuts[p + 1]), values(pieces[p].slice(1, 0, valid)));
      for (const double value : values(pieces[p].slice(1, valid, pieces[p].shape[1]))) {
        EXPECT_EQ(value, 0);
      }
    }
    return values(all);
  }
};

void expect_equal(const Result& actual, const Result& wanted, DType dtype, double slack = 1) {
  expect_near(actual.log_sum, wanted.log_sum, 1e-7 * slack, 5e-7 * slack, "log_sum");
  expect_near(actual.loss, wanted.loss, 1e-7 * slack, 5e-7 * slack, "loss");
  expect_near(actual.gradient, wanted.gradient, 3e-6 * slack + rounding(dtype), 2e-7 * slack,
              "gradient");
}

TEST_P(CrossEntropyTest, EqualsTheFormula) {
  for (const int64_t columns : {1, 3, 17, 129, 1024, 1025, 2500}) {
    const Tensor logits = bench.random({5, columns}, dtype(), 3);
    const double last = static_cast<double>(columns - 1);
    const std::vector<double> targets{0, last, -1, std::floor(last / 2), last};
    expect_equal(run(logits, targets, {0, columns}), reference(values(logits), targets), dtype());
  }
}

TEST_P(CrossEntropyTest, GradientEqualsFiniteDifferences) {
  const Tensor logits = bench.random({2, 9}, dtype());
  const std::vector<double> targets{8, 3};
  std::vector<double> x = values(logits);
  std::vector<double> wanted;
  const auto total = [&] {
    const Result r = reference(x, targets);
    return r.loss[0] + r.loss[1];
  };
  for (double& value : x) {
    const double kept = value;
    value = kept + 1e-5;
    const double above = total();
    value = kept - 1e-5;
    const double below = total();
    value = kept;
    wanted.push_back((above - below) / 2e-5);
  }
  const Result r = run(logits, targets, {0, 9});
  expect_near(r.gradient, wanted, 1e-6 + rounding(dtype()), 1e-7);
}

TEST_P(CrossEntropyTest, UnevenPartsEqualTheWhole) {
  const Tensor logits = bench.random({6, 1500}, dtype(), 3);
  const std::vector<double> targets{0, 1099, 1100, 1499, -1, 7};
  const Result wanted = reference(values(logits), targets);
  expect_equal(run(logits, targets, {0, 1100, 1107, 1500}, 0), wanted, dtype());
  expect_equal(run(logits, targets, {0, 1100, 1107, 1500}, 21), wanted, dtype());
  expect_equal(run(logits, targets, {0, 700, 1500, 1500}, 64), wanted, dtype());  // an empty part
}

TEST_P(CrossEntropyTest, EmptyPartHasNoWeight) {
  const Tensor logits = bench.random({2, 4}, dtype());
  const Tensor targets = bench.holding({0, 100}, {2}, DType::i32);
  const Tensor statistics = bench.random({2, 3}, DType::f32);
  cross_entropy_statistics(context(), logits, targets, {100, 0}, statistics);
  bench.wait();
  EXPECT_EQ(values(statistics), (std::vector<double>{-infinity, 0, 0, -infinity, 0, 0}));
}

// A target in the padding behind the valid columns belongs to the next part.
TEST_P(CrossEntropyTest, PaddingIsNobodysTarget) {
  const Tensor logits = bench.random({1, 6}, dtype(), 1);
  const Tensor targets = bench.holding({4}, {1}, DType::i32);
  const Tensor statistics = bench.zeros({1, 3}, DType::f32);
  cross_entropy_statistics(context(), logits, targets, {0, 4}, statistics);
  const Tensor log_sum = bench.zeros({1}, DType::f32);
  cross_entropy_gradient(context(), logits, targets, {0, 4}, log_sum);
  bench.wait();
  EXPECT_EQ(values(statistics)[2], 0);
  EXPECT_EQ(values(logits)[4], 0);
  EXPECT_EQ(values(logits)[5], 0);
}

TEST_P(CrossEntropyTest, ExtremeLogitsDoNotOverflow) {
  const Tensor logits = bench.random({4, 1100}, dtype());
  std::vector<double> x = values(logits);
  x[3] = 1e4;
  for (size_t i = 0; i < 1100; ++i) x[1100 + i] -= 1e4;
  for (size_t i = 0; i < 1100; ++i) x[2200 + i] = i % 2 == 0 ? 1e4 : -1e4;
  x[3300] = -1e4;
  assign(logits, x);
  const std::vector<double> targets{5, 6, 2, 0};
  const Result wanted = reference(values(logits), targets);
  const Result r = run(logits, targets, {0, 600, 1100});
  expect_near(r.loss, wanted.loss, 1e-6, 1e-6);
  // log_sum is f32: at 1e4 it is off by up to 2^-11, and so is every probability.
  expect_near(r.gradient, wanted.gradient, 0x1p-11 + rounding(dtype()), 1e-9);
}

class FusedCrossEntropyTest : public CrossEntropyTest {
 protected:
  // Loss and gradient in one call, over the logits; the gradient of the valid columns is returned,
  // that of the padding must be 0.
  Result run_fused(const Tensor& logits, const std::vector<double>& targets, int64_t valid,
                   const GradientScale& scale = {}) {
    const int64_t rows = logits.shape[0];
    const Tensor loss = bench.random({rows}, DType::f32);
    cross_entropy(context(), logits, bench.holding(targets, {rows}, DType::i32), {0, valid}, loss,
                  scale);
    bench.wait();
    for (const double value : values(logits.slice(1, valid, logits.shape[1]))) EXPECT_EQ(value, 0);
    return {{}, values(loss), values(logits.slice(1, 0, valid))};
  }
};

void expect_fused(const Result& actual, Result wanted, DType dtype, double scale = 1) {
  for (double& value : wanted.gradient) value *= scale;
  expect_near(actual.loss, wanted.loss, 1e-7, 5e-7, "loss");
  expect_near(actual.gradient, wanted.gradient, 3e-6 + rounding(dtype),
              scale * (dtype == DType::f16 ? 0x1p-24 : 2e-7), "gradient");
}

TEST_P(FusedCrossEntropyTest, EqualsTheFormula) {
  for (const int64_t columns : {1, 2, 7, 33, 64, 129, 1025, 2504, 9000}) {
    for (const int64_t padding : {0, 5, 64}) {
      SCOPED_TRACE(columns);
      const Tensor logits = bench.random({5, columns + padding}, dtype(), 3);
      const double last = static_cast<double>(columns - 1);
      const std::vector<double> targets{0, last, -1, std::floor(last / 2), last};
      const Result wanted = reference(values(logits.slice(1, 0, columns)), targets);
      expect_fused(run_fused(logits, targets, columns), wanted, dtype());
    }
  }
}

TEST_P(FusedCrossEntropyTest, VocabularyOfGpt2) {
  const Tensor logits = bench.random({2, 50304}, dtype(), 2);
  const std::vector<double> targets{50256, 11};
  const Result wanted = reference(values(logits.slice(1, 0, 50257)), targets);
  expect_fused(run_fused(logits, targets, 50257), wanted, dtype());
}

TEST_P(FusedCrossEntropyTest, RowsMayBeStrided) {
  const Tensor logits = bench.strided({11, 70}, dtype(), 9);
  bench.randomize(logits, 2);
  const std::vector<double> targets{69, -1, 0, 1, 2, 3, 4, 5, 6, 7, 8};
  const Result wanted = reference(values(logits), targets);
  expect_fused(run_fused(logits, targets, 70), wanted, dtype());
}

TEST_P(FusedCrossEntropyTest, BothFormsScaleTheGradient) {
  const std::vector<double> targets{0, 40, -1, 7};
  const GradientScale scales[] = {{{}, 0.25f},
                                  {.loss_scale = bench.holding({512}, {1}, DType::f32)},
                                  {bench.holding({512}, {1}, DType::f32), 0.125f}};
  const double wanted_scales[] = {0.25, 512, 64};
  for (size_t i = 0; i < 3; ++i) {
    const Tensor logits = bench.random({4, 50}, dtype(), 2);
    const Tensor copy = bench.holding(values(logits), {4, 50}, dtype());
    const Result wanted = reference(values(logits.slice(1, 0, 41)), targets);
    const Tensor log_sum = bench.holding(wanted.log_sum, {4}, DType::f32);
    expect_fused(run_fused(logits, targets, 41, scales[i]), wanted, dtype(), wanted_scales[i]);
    cross_entropy_gradient(context(), copy, bench.holding(targets, {4}, DType::i32), {0, 41},
                           log_sum, scales[i]);
    bench.wait();
    const Result apart{{}, wanted.loss, values(copy.slice(1, 0, 41))};
    expect_fused(apart, wanted, dtype(), wanted_scales[i]);
  }
}

// What is left out is not looked at: neither its logits nor its column count matter.
TEST_P(FusedCrossEntropyTest, NothingComesOfRowsLeftOut) {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  const Tensor logits = bench.holding(std::vector<double>(3 * 45, nan), {3, 45}, dtype());
  const Result r = run_fused(logits, {-1, -1, -1}, 40, {{}, 8});
  EXPECT_EQ(r.loss, (std::vector<double>{0, 0, 0}));
  EXPECT_EQ(r.gradient, std::vector<double>(3 * 40, 0.0));
}

TEST_P(FusedCrossEntropyTest, ExtremeLogitsDoNotOverflow) {
  const Tensor logits = bench.random({5, 1100}, dtype());
  std::vector<double> x = values(logits);
  x[3] = 1e4;
  for (size_t i = 0; i < 1100; ++i) x[1100 + i] -= 1e4;
  for (size_t i = 0; i < 1100; ++i) x[2200 + i] = i % 2 == 0 ? 1e4 : -1e4;
  x[3300] = -1e4;
  for (size_t i = 0; i < 1000; ++i) x[4400 + i] = -infinity;  // even the first pieces of a row
  assign(logits, x);
  const std::vector<double> targets{5, 6, 2, 0, 1099};
  expect_fused(run_fused(logits, targets, 1100),
               reference(values(bench.holding(x, {5, 1100}, dtype())), targets), dtype());
}

TEST_P(FusedCrossEntropyTest, LogitsOfMinusInfinityHaveNoWeight) {
  const Tensor logits = bench.random({2, 300}, dtype());
  std::vector<double> x = values(logits);
  for (size_t i = 0; i < 300; i += 3) x[i] = -infinity;
  for (size_t i = 0; i < 299; ++i) x[300 + i] = -infinity;
  assign(logits, x);
  const Result wanted = reference(x, {1, 299});
  const Result apart = run(logits, {1, 299}, {0, 100, 300});
  expect_equal(apart, wanted, dtype());
  const Result fused = run_fused(logits, {1, 299}, 300);
  expect_fused(fused, wanted, dtype());
  EXPECT_EQ(fused.loss[1], 0);
}

TEST_P(FusedCrossEntropyTest, NotANumberIsSeen) {
  const Tensor logits = bench.random({2, 600}, dtype());
  std::vector<double> x = values(logits);
  x[7] = std::numeric_limits<double>::quiet_NaN();
  x[1199] = x[7];
  assign(logits, x);
  for (const double loss : run_fused(logits, {0, 0}, 600).loss) EXPECT_TRUE(std::isnan(loss));
}

TEST_P(FusedCrossEntropyTest, TwiceTheSameBitsAndNoScratch) {
  const Tensor logits = bench.random({9, 1300}, dtype(), 2);
  const Tensor again = bench.holding(values(logits), {9, 1300}, dtype());
  const std::vector<double> targets{0, 1, 2, 3, 4, 5, 6, 7, 1299};
  const Result one = run_fused(logits, targets, 1300);
  const int threads = omp_get_max_threads();
  omp_set_num_threads(threads == 1 ? 3 : 1);
  const Result two = run_fused(again, targets, 1300);
  omp_set_num_threads(threads);
  EXPECT_EQ(one.loss, two.loss);
  EXPECT_EQ(one.gradient, two.gradient);
}

TEST_P(FusedCrossEntropyTest, ErrorsNameWhatWasGiven) {
  const Tensor logits = bench.zeros({2, 8}, dtype());
  const Tensor targets = bench.holding({1, 2}, {2}, DType::i32);
  const Tensor loss = bench.zeros({2}, DType::f32);
  const auto run_with = [&](const VocabularyPart& part, const Tensor& to,
                            const GradientScale& scale) {
    return [&, part, to, scale] { cross_entropy(context(), logits, targets, part, to, scale); };
  };
  expect_error(run_with({8, 8}, loss, {}), "first_column 8 was given; 0 is allowed");
  expect_error(run_with({0, 9}, loss, {}), "9 valid columns");
  expect_error(run_with({0, 8}, loss.slice(0, 0, 1), {}), "loss has shape [1]; [2] is allowed");
  expect_error(run_with({0, 8}, loss, {.loss_scale = loss}), "loss_scale has shape [2]; [1]");
}

TEST(CrossEntropyLaunch, StaysWithinTheLimits) {
  for (const int64_t rows : {int64_t{1}, int64_t{65536}, int64_t{3} << 31}) {
    for (const int64_t columns : {1, 31, 1024, 50304, 1 << 30}) {
      for (const int pack : {4, 8}) {
        const auto shape = switchyard::cuda::cross_entropy_launch(rows, columns, pack);
        EXPECT_NO_THROW(switchyard::cuda::check_launch(shape, "cross_entropy"));
        EXPECT_EQ(shape.threads % 32, 0);
      }
    }
  }
  EXPECT_EQ(switchyard::cuda::cross_entropy_launch(65536, 50304, 8).threads, 1024);
  EXPECT_EQ(switchyard::cuda::cross_entropy_launch(65536, 8192, 8).threads, 256);
}

TEST_P(CrossEntropyTest, NotANumberIsSeen) {
  const Tensor logits = bench.random({2, 40}, dtype());
  std::vector<double> x = values(logits);
  x[7] = std::numeric_limits<double>::quiet_NaN();
  x[79] = x[7];
  assign(logits, x);
  for (const double loss : run(logits, {0, 0}, {0, 30, 40}).loss) EXPECT_TRUE(std::isnan(loss));
}

TEST_P(CrossEntropyTest, RowsMayBeStrided) {
  const Tensor logits = bench.strided({3, 70}, dtype(), 9);
  bench.randomize(logits);
  const std::vector<double> targets{69, -1, 0};
  const Result wanted = reference(values(logits), targets);
  const Tensor t = bench.holding(targets, {3}, DType::i32);
  const Tensor statistics = bench.zeros({1, 3, 3}, DType::f32);
  const Tensor log_sum = bench.zeros({3}, DType::f32);
  const Tensor loss = bench.zeros({3}, DType::f32);
  cross_entropy_statistics(context(), logits, t, {0, 70}, statistics.view({3, 3}));
  cross_entropy_combine(context(), statistics, t, log_sum, loss);
  cross_entropy_gradient(context(), logits, t, {0, 70}, log_sum);
  bench.wait();
  expect_equal({values(log_sum), values(loss), values(logits)}, wanted, dtype());
}

TEST_P(CrossEntropyTest, ThreadsDoNotChangeBits) {
  const Tensor logits = bench.random({23, 1300}, dtype(), 2);
  std::vector<double> targets(23);
  for (size_t i = 0; i < targets.size(); ++i) targets[i] = static_cast<double>(50 * i);
  const int threads = omp_get_max_threads();
  omp_set_num_threads(1);
  const Result one = run(logits, targets, {0, 500, 1300}, 3);
  omp_set_num_threads(3);
  const Result three = run(logits, targets, {0, 500, 1300}, 3);
  omp_set_num_threads(threads);
  EXPECT_EQ(one.loss, three.loss);
  EXPECT_EQ(one.gradient, three.gradient);
}

TEST_P(CrossEntropyTest, ErrorsNameWhatWasGiven) {
  const auto& c = context();
  const Tensor logits = bench.zeros({2, 8}, dtype());
  const Tensor targets = bench.holding({1, -2}, {2}, DType::i32);
  const Tensor three = bench.zeros({3}, DType::i32);
  const Tensor statistics = bench.zeros({2, 3}, DType::f32);
  const Tensor log_sum = bench.zeros({2}, DType::f32);
  expect_error(
      [&] {
        cross_entropy_statistics(c, logits, targets, {0, 9}, statistics);
      },
      "9 valid columns");
  expect_error(
      [&] {
        cross_entropy_statistics(c, logits, three, {0, 8}, statistics);
      },
      "targets has shape [3]");
  expect_error(
      [&] {
        cross_entropy_statistics(c, logits, targets, {-8, 8}, statistics);
      },
      "first_column -8");
  expect_error(
      [&] {
        cross_entropy_combine(c, statistics.view({1, 2, 3}), targets, log_sum, statistics);
      },
      "loss has shape [2, 3]; [2] is allowed");
  expect_error(
      [&] {
        cross_entropy_gradient(c, log_sum, targets, {0, 8}, log_sum);
      },
      "logits has shape [2]");
  if (device() == Device::cpu) {
    expect_error(
        [&] {
          cross_entropy_gradient(c, logits, targets, {0, 8}, log_sum);
        },
        "target -2 was given");
  }
}

INSTANTIATE_TEST_SUITE_P(All, CrossEntropyTest, testing::ValuesIn(cases()), case_name);
INSTANTIATE_TEST_SUITE_P(All, FusedCrossEntropyTest, testing::ValuesIn(cases()), case_name);

}  // namespace
}  // namespace switchyard::ops::test
