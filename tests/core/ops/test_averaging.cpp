#include "core/ops/averaging.h"

#include "tests/core/ops/op_test.h"

namespace switchyard::ops::test {
namespace {

using Numbers = std::vector<double>;

class AveragingTest : public testing::TestWithParam<Device> {
 protected:
  Workbench bench{GetParam()};
  const Context& context() const { return bench.context(); }
};
INSTANTIATE_TEST_SUITE_P(All, AveragingTest, testing::ValuesIn(devices()),
                         [](const auto& each) { return std::string(name_of(each.param)); });

// Below, at and above a vector, and more than one block of a thread.
constexpr int64_t counts[] = {0, 1, 7, 16, 33, 70001};

TEST_P(AveragingTest, MovesTowardsByAShare) {
  for (const int64_t count : counts) {
    const Tensor guarded = bench.random({count + 1}, DType::f32);
    const Tensor mean = guarded.slice(0, 0, count), x = bench.random({count}, DType::f32);
    for (const double share : {0.1, 0.5, 0.75}) {
      Numbers wanted = values(guarded);
      const Numbers now = values(x);
      for (size_t i = 0; i < now.size(); ++i) wanted[i] += share * (now[i] - wanted[i]);
      move_towards(context(), x, share, mean);
      expect_near(values(guarded), wanted, 0x1p-21, 1e-6, "move_towards");
    }
    move_towards(context(), x, 1, mean);
    EXPECT_EQ(values(mean), values(x));
  }
}

TEST_P(AveragingTest, SumsInDouble) {
  for (const int64_t count : counts) {
    const Tensor sum = bench.zeros({count + 1}, DType::f64),
                 mean = bench.zeros({count}, DType::f32);
    const Tensor own = sum.slice(0, 0, count);
    Numbers wanted(static_cast<size_t>(count + 1), 0.0);
    for (int n = 0; n < 5; ++n) {
      const Tensor x = bench.random({count}, DType::f32, n == 0 ? 1e6 : 1.0);
      add_to_sum(context(), x, own);
      const Numbers more = values(x);
      for (size_t i = 0; i < more.size(); ++i) wanted[i] += more[i];
    }
    EXPECT_EQ(values(sum), wanted);
    wanted.pop_back();
    for (double& each : wanted) each = static_cast<float>(each / 5);
    mean_of_sum(context(), own, 5, mean);
    EXPECT_EQ(values(mean), wanted);
  }
}

TEST_P(AveragingTest, ARingIsSummedFromItsFirstRowOn) {
  for (const int64_t count : counts) {
    const Tensor ring = bench.random({3, count}, DType::f32),
                 mean = bench.zeros({count}, DType::f32);
    const Numbers all = values(ring);
    for (int64_t first = 0; first < 3; ++first) {
      for (int64_t rows = 1; rows <= 3; ++rows) {
        Numbers wanted;
        for (int64_t i = 0; i < count; ++i) {
          double sum = 0;
          for (int64_t r = 0; r < rows; ++r) {
            sum += all[static_cast<size_t>((first + r) % 3 * count + i)];
          }
          wanted.push_back(static_cast<float>(sum / static_cast<double>(rows)));
        }
        mean_of_ring(context(), ring, first, rows, mean);
        ASSERT_EQ(values(mean), wanted);
      }
    }
  }
}

TEST_P(AveragingTest, RefusesWhatDoesNotFit) {
  const Tensor x = bench.zeros({4}, DType::f32), sum = bench.zeros({4}, DType::f64);
  const Tensor ring = bench.zeros({2, 4}, DType::f32);
  expect_error([&] { move_towards(context(), x, 1.5, x); }, "a share of 1.5; 0 to 1 is allowed");
  expect_error([&] { move_towards(context(), sum, 1, x); }, "x");
  expect_error([&] { add_to_sum(context(), x, x); }, "sum");
  expect_error([&] { mean_of_sum(context(), sum, 0, x); }, "a mean of 0");
  expect_error([&] { mean_of_ring(context(), ring, 2, 1, x); }, "a first row of 2");
  expect_error([&] { mean_of_ring(context(), ring, 0, 3, x); }, "a mean of 3; 1 to 2");
}

}  // namespace
}  // namespace switchyard::ops::test
