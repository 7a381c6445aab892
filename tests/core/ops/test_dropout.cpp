#include "core/ops/dropout.h"

#include <omp.h>

#include "tests/core/ops/op_test.h"

namespace switchyard::ops::test {
namespace {

class DropoutTest : public OpTest {
 protected:
  Dropout options(const std::vector<double>& row_ids, double probability) {
    return {probability,
            {0x123456789abcdefu, 9, random_purpose("layers.3.dropout")},
            bench.holding(row_ids, {static_cast<int64_t>(row_ids.size())}, DType::i64)};
  }

  void expect_masked(const std::vector<double>& x, const Tensor& y, const Dropout& options) {
    const auto columns = static_cast<uint64_t>(y.shape[1]);
    const auto ids = values(options.row_ids);
    const auto actual = values(y);
    for (size_t i = 0; i < actual.size(); ++i) {
      const uint64_t element = static_cast<uint64_t>(ids[i / columns]) * columns + i % columns;
      const bool kept = options.key.word(element) >= dropout_threshold(options.probability);
      const double reference = kept ? x[i] / (1 - options.probability) : 0;
      const double underflow = dtype() == DType::f16 ? 0x1p-25 : 0;
      ASSERT_NEAR(actual[i], reference,
                  std::abs(reference) * (rounding(dtype()) + 0x1p-23) + underflow)
          << "element " << i << " of " << columns << " columns";
    }
  }
};

TEST_P(DropoutTest, KeepsTheElementsThatTheirWordsSay) {
  // Rows far apart; the last ones need more than 32 bits for an element and for a block.
  const std::vector<double> ids{0, 1, 5, 1000003, 4294967296.0, 9007199254740.0};
  for (const int64_t columns : {1, 3, 4, 6, 17, 64, 131, 1023, 1024, 1030, 2053, 8200}) {
    for (const double probability : {0.1, 0.5, 0.97}) {
      const Tensor x = bench.random({6, columns}, dtype());
      const Tensor y = bench.zeros({6, columns}, dtype());
      const Dropout dropped = options(ids, probability);
      dropout(context(), x, y, dropped);
      expect_masked(values(x), y, dropped);
    }
  }
}

// Random123's known answer for counter and key 0, through the operator: a probability of exactly
// w / 2^32 keeps the word w, the next greater one drops it.
TEST_P(DropoutTest, WordsAreThoseOfPhilox) {
  constexpr uint32_t known[] = {0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u};
  const Tensor x = bench.holding({1, 1, 1, 1}, {1, 4}, dtype());
  const Tensor y = bench.zeros({1, 4}, dtype());
  for (size_t i = 0; i < 4; ++i) {
    Dropout dropped = options({0}, 0x1p-32 * known[i]);
    dropped.key = {};
    dropout(context(), x, y, dropped);
    EXPECT_NE(values(y)[i], 0.0) << i;
    dropped.probability = 0x1p-32 * (known[i] + 1.0);
    dropout(context(), x, y, dropped);
    EXPECT_EQ(values(y)[i], 0.0) << i;
  }
}

// Kernels read the step where it changes from launch to launch.
TEST_P(DropoutTest, StepIsReadFromTheDevicesMemory) {
  if (device() == Device::cpu) GTEST_SKIP() << "there is no other memory than the host's";
  const Tensor step = bench.holding({9}, {1}, DType::i32);
  for (const int64_t columns : {40, 41}) {
    const Tensor x = bench.random({3, columns}, dtype());
    const Tensor y = bench.zeros({3, columns}, dtype());
    for (const uint32_t now : {9u, 10u}) {
      assign(step, {static_cast<double>(now)});
      Dropout dropped = options({7, 8, 9}, 0.5);
      dropped.key.step = 1234;
      dropped.key.step_on_device = static_cast<const uint32_t*>(step.data);
      dropout(context(), x, y, dropped);
      dropped.key = {dropped.key.seed, now, dropped.key.purpose};
      expect_masked(values(x), y, dropped);
    }
  }
}

TEST_P(DropoutTest, WorksInPlaceAndTwiceForBackward) {
  const Tensor x = bench.random({3, 50}, dtype());
  const auto before = values(x);
  const Dropout dropped = options({7, 8, 9}, 0.25);
  dropout(context(), x, x, dropped);
  expect_masked(before, x, dropped);
}

TEST_P(DropoutTest, ARowDoesNotDependOnItsNeighbours) {
  const Tensor x = bench.random({4, 30}, dtype());
  const Tensor whole = bench.zeros({4, 30}, dtype());
  const Tensor part = bench.zeros({2, 30}, dtype());
  dropout(context(), x, whole, options({10, 11, 12, 13}, 0.4));
  dropout(context(), x.slice(0, 2, 4), part, options({12, 13}, 0.4));
  EXPECT_EQ(values(whole.slice(0, 2, 4)), values(part));
}

TEST_P(DropoutTest, ProbabilityZeroCopies) {
  const Tensor x = bench.random({3, 11}, dtype());
  const Tensor y = bench.zeros({3, 11}, dtype());
  dropout(context(), x, y, {});
  EXPECT_EQ(values(x), values(y));
}

TEST_P(DropoutTest, KeepsTheShareAndTheMean) {
  const Tensor x = bench.zeros({16, 4096}, dtype());
  const Tensor y = bench.zeros({16, 4096}, dtype());
  assign(x, std::vector<double>(65536, 1.0));
  std::vector<double> ids(16);
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<double>(i);
  dropout(context(), x, y, options(ids, 0.2));
  double sum = 0;
  for (const double v : values(y)) sum += v;
  EXPECT_NEAR(sum / 65536, 1.0, 5 * std::sqrt(0.25 / 65536));
}

TEST_P(DropoutTest, DropsWhatIsNotFinite) {
  const Tensor x = bench.zeros({1, 64}, dtype());
  assign(x, std::vector<double>(64, INFINITY));
  const Dropout dropped = options({0}, 0.5);
  dropout(context(), x, x, dropped);
  for (const double v : values(x)) EXPECT_TRUE(v == 0 || std::isinf(v)) << v;
}

TEST_P(DropoutTest, NamesWhatIsWrong) {
  const Tensor x = bench.random({2, 8}, dtype());
  const Dropout good = options({0, 1}, 0.5);
  expect_error([&] { dropout(context(), x, x.slice(0, 0, 1), good); },
               "y has shape [1, 8]; [2, 8] is allowed");
  expect_error([&] { dropout(context(), x.slice(1, 0, 4), x, good); }, "x of shape [2, 4]");
  expect_error([&] { dropout(context(), x, x, options({0}, 0.5)); }, "row_ids has shape [1]");
  expect_error([&] { dropout(context(), x, x, {0.5, {}, {}}); }, "row_ids is f32; allowed: i64");
  for (const double wrong : {-0.5, 1.0, std::nan("")}) {
    expect_error([&] { dropout(context(), x, x, options({0, 1}, wrong)); }, "0 <= p < 1");
  }
}

INSTANTIATE_TEST_SUITE_P(All, DropoutTest, testing::ValuesIn(cases()), case_name);

}  // namespace
}  // namespace switchyard::ops::test
