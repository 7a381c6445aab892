#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/ops/averaging_cpu.cpp"
#include "core/ops/highway.h"
// Keep this order.
#include <hwy/foreach_target.h>

#include "core/ops/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace switchyard::ops {
namespace HWY_NAMESPACE {
namespace {

using DoubleTag = hn::ScalableTag<double>;
using FewFloats = hn::Rebind<float, DoubleTag>;

// From the nearer of both, so that a share of 1 is a copy.
void move_towards_range(const float* x, float share, float* mean, size_t count) {
  for_vectors(count, [&](size_t i, auto part) HWY_ATTR {
    const Float now = load(x + i, part), before = load(mean + i, part);
    const Float difference = hn::Sub(now, before);
    store(share < 0.5f ? hn::MulAdd(constant(share), difference, before)
                       : hn::MulAdd(constant(share - 1.0f), difference, now),
          mean + i, part);
  });
}

void add_to_sum_range(const float* x, double* sum, size_t count) {
  const DoubleTag doubles;
  const size_t n = hn::Lanes(doubles);
  size_t i = 0;
  for (; i + n <= count; i += n) {
    const auto more = hn::PromoteTo(doubles, hn::LoadU(FewFloats(), x + i));
    hn::StoreU(hn::Add(hn::LoadU(doubles, sum + i), more), doubles, sum + i);
  }
  for (; i < count; ++i) sum[i] += static_cast<double>(x[i]);
}

void mean_of_sum_range(const double* sum, double number, float* mean, size_t count) {
  const DoubleTag doubles;
  const size_t n = hn::Lanes(doubles);
  const auto divisor = hn::Set(doubles, number);
  size_t i = 0;
  for (; i + n <= count; i += n) {
    const auto quotient = hn::Div(hn::LoadU(doubles, sum + i), divisor);
    hn::StoreU(hn::DemoteTo(FewFloats(), quotient), FewFloats(), mean + i);
  }
  for (; i < count; ++i) mean[i] = static_cast<float>(sum[i] / number);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace switchyard::ops
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <algorithm>
#include <array>

#include "core/ops/averaging.h"
#include "core/ops/backends.h"
#include "core/ops/parallel_blocks.h"

namespace switchyard::ops {
HWY_EXPORT(move_towards_range);
HWY_EXPORT(add_to_sum_range);
HWY_EXPORT(mean_of_sum_range);

namespace {

constexpr int64_t block_elements = 1 << 15;

size_t length(int64_t begin, int64_t end) { return static_cast<size_t>(end - begin); }

}  // namespace

void cpu::move_towards(const Context&, const Tensor& x, double share, const Tensor& mean) {
  parallel_blocks(mean.elements(), block_elements, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(move_towards_range)
    (x.as<float>() + begin, static_cast<float>(share), mean.as<float>() + begin,
     length(begin, end));
  });
}

void cpu::add_to_sum(const Context&, const Tensor& x, const Tensor& sum) {
  parallel_blocks(sum.elements(), block_elements, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(add_to_sum_range)
    (x.as<float>() + begin, sum.as<double>() + begin, length(begin, end));
  });
}

void cpu::mean_of_sum(const Context&, const Tensor& sum, int64_t count, const Tensor& mean) {
  parallel_blocks(mean.elements(), block_elements, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(mean_of_sum_range)
    (sum.as<double>() + begin, static_cast<double>(count), mean.as<float>() + begin,
     length(begin, end));
  });
}

// In blocks whose sums stay in the nearest cache.
void cpu::mean_of_ring(const Context&, const Tensor& ring, int64_t first, int64_t count,
                       const Tensor& mean) {
  constexpr int64_t block = 2048;
  const int64_t rows = ring.shape[0];
  parallel_blocks(mean.elements(), block, [&](int64_t begin, int64_t end) {
    std::array<double, block> sums{};
    for (int64_t i = 0; i < count; ++i) {
      const float* row = ring.as<float>() + (first + i) % rows * mean.elements() + begin;
      HWY_DYNAMIC_DISPATCH(add_to_sum_range)(row, sums.data(), length(begin, end));
    }
    HWY_DYNAMIC_DISPATCH(mean_of_sum_range)
    (sums.data(), static_cast<double>(count), mean.as<float>() + begin, length(begin, end));
  });
}

}  // namespace switchyard::ops
#endif  // HWY_ONCE
