#include "core/ops/elementwise.h"

#include <omp.h>

#include <bit>
#include <cstring>
#include <limits>

#include "tests/core/ops/op_test.h"

namespace switchyard::ops::test {
namespace {

class ElementwiseTest : public OpTest {
 protected:
  // What rounding to the dtype may add to a number below its normal ones.
  double underflow() const { return dtype() == DType::f16 ? 0x1p-25 : 1e-38; }
};

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

TEST_P(ElementwiseTest, Add) {
  for (const int64_t count : counts) {
    const Tensor x = bench.random({count}, dtype());
    const Tensor y = bench.random({count}, dtype());
    auto added = values(x);
    const auto other = values(y);
    for (size_t i = 0; i < added.size(); ++i) added[i] += other[i];
    const Tensor sum = bench.zeros({count}, dtype());
    add(context(), x, y, sum);
    expect_near(values(sum), added, rounding(dtype()) + 0x1p-23, underflow(), "add");
    add(context(), x, y, y);
    EXPECT_EQ(values(y), values(sum));
  }
}

// Views that do not begin at a multiple of 16 bytes.
TEST_P(ElementwiseTest, UnalignedViews) {
  const Tensor x = bench.random({1001}, dtype());
  const Tensor y = bench.random({1001}, dtype());
  const Tensor sum = bench.zeros({1001}, dtype());
  const auto a = values(x), b = values(y);
  add(context(), x.slice(0, 1, 999), y.slice(0, 3, 1001), sum.slice(0, 2, 1000));
  std::vector<double> wanted(1001, 0.0);
  for (size_t i = 0; i < 998; ++i) wanted[i + 2] = a[i + 1] + b[i + 3];
  expect_near(values(sum), wanted, rounding(dtype()) + 0x1p-23, underflow());
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
  const Tensor total = bench.zeros({1}, DType::f64);
  const auto run = [&](int threads) {
    omp_set_num_threads(threads);
    fill(context(), sums, 0);
    fill(context(), total, 0);
    column_sum(context(), x, sums);
    sum_of_squares(context(), flat, total);
    auto all = values(sums);
    all.push_back(values(total)[0]);
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

TEST_P(ElementwiseTest, SumsHaveTheSameBitsTwiceAndAllocateOnce) {
  const Tensor x = bench.random({1500, 264}, dtype());
  const Tensor flat = bench.random({300001}, DType::f32);
  const Tensor sums = bench.zeros({264}, DType::f32);
  const Tensor total = bench.zeros({1}, DType::f64);
  const auto run = [&] {
    fill(context(), sums, 0);
    fill(context(), total, 0);
    column_sum(context(), x, sums);
    sum_of_squares(context(), flat, total);
    sum(context(), flat, total);
    auto all = values(sums);
    all.push_back(values(total)[0]);
    return all;
  };
  const auto first = run();
  const auto allocations = memory_statistics().allocations;
  EXPECT_EQ(run(), first);
  EXPECT_EQ(memory_statistics().allocations, allocations);
}

TEST_P(ElementwiseTest, NamesWhatIsWrong) {
  const Tensor x = bench.random({2, 4}, dtype());
  const Tensor y = bench.random({2, 3}, dtype());
  const Tensor ids = bench.zeros({8}, DType::i32);
  expect_error([&] { fill(context(), ids, 1); }, "[fill] x is i32; allowed: f32, bf16");
  expect_error([&] { fill(context(), x.slice(1, 0, 2), 1); }, "strided");
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

template <class T>
Tensor tensor_of(Workbench& bench, const std::vector<T>& numbers) {
  const Tensor t = bench.zeros({static_cast<int64_t>(numbers.size())}, dtype_of<T>);
  HostView host(t);
  std::copy(numbers.begin(), numbers.end(), host.view().as<T>());
  host.put_back();
  return t;
}

template <class T>
std::vector<T> elements_of(const Tensor& t) {
  const HostView host(t);
  const auto elements = host.view().span<T>();
  return {elements.begin(), elements.end()};
}

// Bits that are the wanted ones, or those of another NaN: which one is not said.
template <class T>
void expect_rounded(float from, T actual, T wanted) {
  if (std::isnan(from)) {
    ASSERT_TRUE(std::isnan(static_cast<float>(actual))) << std::bit_cast<uint32_t>(from);
  } else {
    ASSERT_EQ(actual.bits, wanted.bits) << std::bit_cast<uint32_t>(from);
  }
}

TEST_P(DeviceTest, CastRoundsToNearestEven) {
  // Every upper half with the lower halves that matter for rounding to one of the formats.
  std::vector<float> numbers;
  for (uint32_t upper = 0; upper < 65536; ++upper) {
    for (const uint32_t lower : {0u, 1u, 0x0fffu, 0x1000u, 0x1001u, 0x3000u, 0x7000u, 0x7fffu,
                                 0x8000u, 0x8001u, 0xf000u, 0xf001u, 0xffffu}) {
      numbers.push_back(std::bit_cast<float>(upper << 16 | lower));
    }
  }
  numbers.push_back(1.0f);  // an odd count
  const Tensor from = tensor_of(bench, numbers);
  const Tensor brain = bench.zeros(from.shape, DType::bf16);
  const Tensor half = bench.zeros(from.shape, DType::f16);
  cast(bench.context(), from, brain);
  cast(bench.context(), from, half);
  const auto as_bf16 = elements_of<bf16>(brain);
  const auto as_f16 = elements_of<f16>(half);
  for (size_t i = 0; i < numbers.size(); ++i) {
    expect_rounded(numbers[i], as_bf16[i], bf16(numbers[i]));
    expect_rounded(numbers[i], as_f16[i], f16(numbers[i]));
    if (HasFatalFailure()) return;
  }
}

TEST_P(DeviceTest, CastOfEvery16BitNumber) {
  std::vector<bf16> brains(65536);
  std::vector<f16> halves(65536);
  for (size_t i = 0; i < 65536; ++i) brains[i].bits = halves[i].bits = static_cast<uint16_t>(i);
  const Tensor brain = tensor_of(bench, brains);
  const Tensor half = tensor_of(bench, halves);
  const auto to = [&](const Tensor& from, DType dtype) {
    const Tensor result = bench.zeros(from.shape, dtype);
    cast(bench.context(), from, result);
    return result;
  };
  const auto brain_floats = elements_of<float>(to(brain, DType::f32));
  const auto half_floats = elements_of<float>(to(half, DType::f32));
  const auto brain_halves = elements_of<f16>(to(brain, DType::f16));
  const auto half_brains = elements_of<bf16>(to(half, DType::bf16));
  for (size_t i = 0; i < 65536; ++i) {
    const auto b = static_cast<float>(brains[i]), h = static_cast<float>(halves[i]);
    if (!std::isnan(b)) {
      ASSERT_EQ(std::bit_cast<uint32_t>(brain_floats[i]), std::bit_cast<uint32_t>(b)) << i;
    }
    if (!std::isnan(h)) {
      ASSERT_EQ(std::bit_cast<uint32_t>(half_floats[i]), std::bit_cast<uint32_t>(h)) << i;
    }
    expect_rounded(b, brain_halves[i], f16(b));
    expect_rounded(h, half_brains[i], bf16(h));
    if (HasFatalFailure()) return;
  }
}

TEST_P(DeviceTest, CastOfOneDTypeCopies) {
  const Tensor x = tensor_of(bench, std::vector<f16>{f16(1.5f), f16(-3.0f), f16(0.1f)});
  const Tensor y = bench.zeros({3}, DType::f16);
  cast(bench.context(), x, y);
  EXPECT_EQ(elements_of<f16>(y), elements_of<f16>(x));
}

TEST_P(DeviceTest, FillsDoubles) {
  const Tensor x = bench.zeros({70003}, DType::f64);
  fill(bench.context(), x.slice(0, 0, 70002), 0.1f);
  std::vector<double> wanted(70002, static_cast<double>(0.1f));
  wanted.push_back(0);
  EXPECT_EQ(values(x), wanted);
}

TEST_P(DeviceTest, Iota) {
  for (const DType dtype : {DType::i64, DType::i32}) {
    for (const int64_t count : {0, 1, 1000, 70001}) {
      const Tensor x = bench.zeros({count}, dtype);
      const int64_t first = dtype == DType::i64 ? int64_t{1} << 40 : -5;
      iota(bench.context(), x, first);
      const auto numbers = values(x);
      for (int64_t i = 0; i < count; ++i) {
        ASSERT_EQ(numbers[static_cast<size_t>(i)], static_cast<double>(first + i));
      }
    }
  }
}

template <class T>
void expect_copies_of_rows(Workbench& bench) {
  std::vector<T> numbers(2 * 3 * 5 * 17);
  for (size_t i = 0; i < numbers.size(); ++i) {
    const auto bits = static_cast<uint32_t>(i * 2654435761u) & 0x3fff3fffu;  // no NaN
    std::memcpy(static_cast<void*>(&numbers[i]), &bits, std::min(sizeof(T), sizeof(bits)));
  }
  const Tensor all = tensor_of(bench, numbers).view({2, 3, 5, 17});
  // Rows of 16 elements, dense and with axes in another order; of 17, of 3, and of 1.
  Tensor turned = bench.zeros({2, 5, 3, 16}, all.dtype);
  std::swap(turned.shape[1], turned.shape[2]);
  std::swap(turned.stride[1], turned.stride[2]);
  for (const auto& [begin, end] : {std::pair{0, 16}, {1, 17}, {0, 17}, {5, 8}, {16, 17}}) {
    const Tensor from = all.slice(3, begin, end);
    const Tensor dense = bench.zeros(from.shape, all.dtype);
    copy(bench.context(), from, dense);
    EXPECT_EQ(values(dense), values(from)) << name_of(all.dtype) << " from " << begin;
    if (end - begin != 16) continue;
    copy(bench.context(), from, turned);
    EXPECT_EQ(values(turned), values(from)) << name_of(all.dtype) << " turned from " << begin;
  }
  const Tensor middle = all.slice(1, 1, 3).slice(2, 1, 4);
  const Tensor to = bench.strided(middle.shape, all.dtype, 2);
  copy(bench.context(), middle, to);
  EXPECT_EQ(values(to), values(middle)) << name_of(all.dtype) << " middle";
}

TEST_P(DeviceTest, CopyTakesEveryDType) {
  expect_copies_of_rows<int32_t>(bench);
  expect_copies_of_rows<int64_t>(bench);
  expect_copies_of_rows<double>(bench);
  expect_copies_of_rows<bf16>(bench);
  expect_copies_of_rows<f16>(bench);
  expect_copies_of_rows<float>(bench);
  const Tensor bytes = tensor_of(bench, std::vector<uint8_t>{1, 2, 3, 4, 5, 6}).view({2, 3});
  const Tensor two = bench.zeros({2, 2}, DType::u8);
  copy(bench.context(), bytes.slice(1, 1, 3), two);
  EXPECT_EQ(elements_of<uint8_t>(two), (std::vector<uint8_t>{2, 3, 5, 6}));
  const Tensor words = tensor_of(bench, std::vector<uint16_t>{1, 2, 3, 4, 5, 6}).view({3, 2});
  const Tensor one = bench.zeros({3, 1}, DType::u16);
  copy(bench.context(), words.slice(1, 1, 2), one);
  EXPECT_EQ(elements_of<uint16_t>(one), (std::vector<uint16_t>{2, 4, 6}));
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
    if (GetParam() == Device::cpu) {
      EXPECT_EQ(total_of(bench, x, sum), total);
    } else {  // in blocks: another order, still in fp64
      EXPECT_NEAR(total_of(bench, x, sum), total, 1e-15 * static_cast<double>(count));
    }
  }
  const Tensor tiny = bench.zeros({100}, DType::f32);
  fill(bench.context(), tiny, 1e-30f);
  EXPECT_NEAR(total_of(bench, tiny, sum_of_squares), 1e-58, 1e-63);
  // Where a view begins does not change bits.
  const Tensor x = bench.random({70001}, DType::f32);
  const Tensor shifted = bench.zeros({70002}, DType::f32).slice(0, 1, 70002);
  copy(bench.context(), x, shifted);
  EXPECT_EQ(total_of(bench, shifted, sum), total_of(bench, x, sum));
}

INSTANTIATE_TEST_SUITE_P(All, DeviceTest, testing::ValuesIn(devices()),
                         [](const auto& tested) { return std::string(name_of(tested.param)); });

}  // namespace
}  // namespace switchyard::ops::test
