#include "core/ops/elementwise.h"

#include <omp.h>

#include <bit>
#include <limits>

#include "tests/core/ops/op_test.h"

namespace switchyard::ops::test {
namespace {

class ElementwiseTest : public OpTest {};

using Sum = void(const Context&, const Tensor&, const Tensor&);

// What `sum` adds to a total of 0.
double total_of(Workbench& bench, const Tensor& x, Sum* sum) {
  const Tensor total = bench.zeros({1}, DType::f64);
  sum(bench.context(), x, total);
  return values(total)[0];
}

// Below, at and above a vector, and more than one block of a thread.
constexpr int64_t counts[] = {0, 1, 7, 16, 33, 70001};

TEST_P(ElementwiseTest, Fill) {
  for (const int64_t count : counts) {
    const Tensor guarded = bench.zeros({count + 1}, dtype());
    fill(context(), guarded.slice(0, 0, count), 1.5f);
    std::vector<double> reference(static_cast<size_t>(count), 1.5);
    reference.push_back(0);
    EXPECT_EQ(values(guarded), reference);
  }
}

TEST_P(ElementwiseTest, ScaleAndAdd) {
  for (const int64_t count : counts) {
    const Tensor x = bench.random({count}, dtype());
    const Tensor y = bench.random({count}, dtype());
    auto scaled = values(x);
    for (double& v : scaled) v *= 0.3f;
    scale(context(), x, 0.3f);
    expect_near(values(x), scaled, rounding(dtype()) + 0x1p-23, 1e-38, "scale");
    auto added = values(x);
    const auto other = values(y);
    for (size_t i = 0; i < added.size(); ++i) added[i] += other[i];
    const Tensor sum = bench.zeros({count}, dtype());
    add(context(), x, y, sum);
    expect_near(values(sum), added, rounding(dtype()) + 0x1p-23, 1e-38, "add");
    add(context(), x, y, y);
    EXPECT_EQ(values(y), values(sum));
  }
}

TEST_P(ElementwiseTest, CopyKeepsBits) {
  for (const int64_t count : counts) {
    const Tensor x = bench.random({count}, dtype());
    const Tensor y = bench.zeros({count}, dtype());
    copy(context(), x, y);
    EXPECT_EQ(values(x), values(y));
  }
  const Tensor ids = bench.holding({1, 2, 3}, {3}, DType::i64);
  const Tensor other = bench.zeros({3, 1}, DType::i64);
  copy(context(), ids, other);
  EXPECT_EQ(values(other), values(ids));
}

TEST_P(ElementwiseTest, CopyOfStridedRows) {
  const Tensor all = bench.random({3, 5, 9}, dtype());
  const Tensor from = all.slice(2, 2, 7);
  const Tensor to = bench.strided({3, 5, 5}, dtype(), 3);
  copy(context(), from, to);
  EXPECT_EQ(values(to), values(from));
  const Tensor middle = bench.zeros({3, 2, 9}, dtype());
  copy(context(), all.slice(1, 1, 3), middle);
  EXPECT_EQ(values(middle), values(all.slice(1, 1, 3)));
}

TEST_P(ElementwiseTest, ColumnSumAdds) {
  for (const int64_t columns : {1, 5, 16, 513, 1500}) {
    for (const int64_t rows : {0, 1, 40, 301}) {
      const Tensor x = bench.random({rows, columns}, dtype());
      const Tensor sums = bench.random({columns}, DType::f32);
      auto reference = values(sums);
      const auto numbers = values(x);
      for (size_t i = 0; i < numbers.size(); ++i) {
        reference[i % static_cast<size_t>(columns)] += numbers[i];
      }
      column_sum(context(), x, sums);
      expect_near(values(sums), reference, 1e-6, 3e-5);
    }
  }
}

TEST_P(ElementwiseTest, ThreadsDoNotChangeBitsNorAllocateTwice) {
  if (device() != Device::cpu) GTEST_SKIP() << "threads are the CPU's";
  const Tensor x = bench.random({500, 300}, dtype());
  const Tensor flat = bench.random({150000}, DType::f32);
  const Tensor sums = bench.zeros({300}, DType::f32);
  const auto run = [&](int threads) {
    omp_set_num_threads(threads);
    fill(context(), sums, 0);
    column_sum(context(), x, sums);
    auto all = values(sums);
    all.push_back(total_of(bench, flat, sum_of_squares));
    return all;
  };
  const int threads = omp_get_max_threads();
  const auto one = run(1);
  const auto allocations = memory_statistics().allocations;
  EXPECT_EQ(run(3), one);
  EXPECT_EQ(run(2), one);
  EXPECT_EQ(memory_statistics().allocations, allocations);
  omp_set_num_threads(threads);
}

TEST_P(ElementwiseTest, NamesWhatIsWrong) {
  const Tensor x = bench.random({2, 4}, dtype());
  const Tensor y = bench.random({2, 3}, dtype());
  const Tensor ids = bench.zeros({8}, DType::i32);
  expect_error([&] { fill(context(), ids, 1); }, "[fill] x is i32; allowed: f32, bf16");
  expect_error([&] { scale(context(), x.slice(1, 0, 2), 1); }, "strided");
  expect_error([&] { add(context(), x, y, x); }, "[add] y has shape [2, 3]; 8 elements");
  expect_error([&] { copy(context(), x, ids); }, "[copy] to is i32");
  expect_error([&] { copy(context(), x.slice(1, 0, 2), y); },
               "to has shape [2, 3]; 4 elements are allowed");
  expect_error([&] { cast(context(), x, ids); }, "[cast] to is i32");
  expect_error([&] { column_sum(context(), x, y); }, "[column_sum] sums");
  expect_error([&] { sum(context(), ids, ids); }, "[sum] x is i32; allowed: f32");
}

INSTANTIATE_TEST_SUITE_P(All, ElementwiseTest, testing::ValuesIn(cases()), case_name);

class DeviceTest : public testing::TestWithParam<Device> {
 protected:
  Workbench bench{GetParam()};
};

TEST_P(DeviceTest, CastRoundsToNearestEvenLikeBf16) {
  // Every upper half with the lower halves that matter for rounding.
  std::vector<float> numbers;
  for (uint32_t upper = 0; upper < 65536; ++upper) {
    for (const uint32_t lower : {0u, 1u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu}) {
      numbers.push_back(std::bit_cast<float>(upper << 16 | lower));
    }
  }
  numbers.push_back(1.0f);  // an odd count
  const auto count = static_cast<int64_t>(numbers.size());
  const Tensor from = bench.zeros({count}, DType::f32);
  const Tensor to = bench.zeros({count}, DType::bf16);
  const Tensor back = bench.zeros({count}, DType::f32);
  std::copy(numbers.begin(), numbers.end(), from.as<float>());
  cast(bench.context(), from, to);
  cast(bench.context(), to, back);
  for (size_t i = 0; i < numbers.size(); ++i) {
    const bf16 reference(numbers[i]);
    ASSERT_EQ(to.as<bf16>()[i].bits, reference.bits) << std::bit_cast<uint32_t>(numbers[i]);
    ASSERT_EQ(std::bit_cast<uint32_t>(back.as<float>()[i]), uint32_t{reference.bits} << 16);
  }
}

TEST_P(DeviceTest, SumOfSquaresAndSum) {
  for (const int64_t count : counts) {
    const Tensor x = bench.random({count}, DType::f32);
    double squares = 0;
    double total = 0;
    for (const double v : values(x)) {
      squares += v * v;
      total += v;
    }
    EXPECT_NEAR(total_of(bench, x, sum_of_squares), squares, 1e-12 * squares);
    EXPECT_EQ(total_of(bench, x, sum), total);
  }
  const Tensor tiny = bench.zeros({100}, DType::f32);
  fill(bench.context(), tiny, 1e-30f);
  EXPECT_NEAR(total_of(bench, tiny, sum_of_squares), 1e-58, 1e-63);
}

INSTANTIATE_TEST_SUITE_P(All, DeviceTest, testing::ValuesIn(devices()),
                         [](const auto& tested) { return std::string(name_of(tested.param)); });

}  // namespace
}  // namespace switchyard::ops::test
