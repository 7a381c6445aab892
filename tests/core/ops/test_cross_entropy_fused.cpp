// Loss and gradient in one call.
#include <omp.h>

#include <limits>

#include "tests/core/ops/cross_entropy_cases.h"

namespace switchyard::ops::test::cross_entropy_cases {
namespace {

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

INSTANTIATE_TEST_SUITE_P(All, FusedCrossEntropyTest, testing::ValuesIn(cases()), case_name);

}  // namespace
}  // namespace switchyard::ops::test::cross_entropy_cases
