#include <omp.h>

#include <limits>

#include "core/ops/cross_entropy_launch.h"
#include "tests/core/ops/cross_entropy_cases.h"

namespace switchyard::ops::test::cross_entropy_cases {
namespace {

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

}  // namespace
}  // namespace switchyard::ops::test::cross_entropy_cases
