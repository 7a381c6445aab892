#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/ops/cross_entropy_cpu.cpp"
#include "core/ops/highway.h"
// Keep this order.
#include <hwy/foreach_target.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/ops/cross_entropy.h"
#include "core/ops/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace switchyard::ops {
namespace HWY_NAMESPACE {
namespace {

constexpr size_t tile = 1024;  // logits that stay in the first-level cache between two loops

// The largest of `count` > 0 logits; a NaN may be passed over, the sum of exponentials shows it.
template <class T>
float largest(const T* x, size_t count) {
  const size_t n = lanes();
  const Float lowest = constant(-std::numeric_limits<float>::max());
  Float m0 = lowest, m1 = lowest, m2 = lowest, m3 = lowest;
  size_t i = 0;
  for (; i + 4 * n <= count; i += 4 * n) {
    m0 = hn::Max(load(x + i, All()), m0);
    m1 = hn::Max(load(x + i + n, All()), m1);
    m2 = hn::Max(load(x + i + 2 * n, All()), m2);
    m3 = hn::Max(load(x + i + 3 * n, All()), m3);
  }
  const Float m = hn::Max(hn::Max(m0, m1), hn::Max(m2, m3));
  float result = hn::GetLane(hn::MaxOfLanes(FloatTag(), m));
  for (; i < count; ++i) result = std::max(result, static_cast<float>(x[i]));
  return result;
}

// One pass over the row, tile by tile: `sum` is that of exp(logit - max) over the tiles so far and
// is scaled down when a tile raises the maximum (Milakov and Gimelshein, "Online normalizer
// calculation for softmax", 2018).
template <class T>
void online_sum(const T* x, size_t count, float* max_and_sum) {
  float max = -std::numeric_limits<float>::infinity();
  float sum = 0;
  for (size_t begin = 0; begin < count; begin += tile) {
    const size_t size = std::min(tile, count - begin);
    const float top = std::max(max, largest(x + begin, size));
    const Float shift = constant(top);
    sum *= hn::GetLane(exponential(constant(max - top)));
    sum += sum_vectors(size, [&](size_t i, auto part) HWY_ATTR {
      return exponential(hn::Sub(load(x + begin + i, part), shift));
    });
    max = top;
  }
  max_and_sum[0] = max;
  max_and_sum[1] = sum;
}

// Where the target of a row lies here; -1: nowhere.
int64_t column_of(int32_t wanted, const VocabularyPart& part) {
  const int64_t column = wanted - part.first_column;
  return wanted >= 0 && column >= 0 && column < part.valid_columns ? column : -1;
}

template <class T>
void statistics_as(const Tensor& logits, const Tensor& targets, const VocabularyPart& part,
                   const Tensor& statistics, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const T* x = logits.as<T>() + row * logits.stride[0];
    const int64_t target = column_of(targets.as<int32_t>()[row], part);
    float* result = statistics.as<float>() + row * 3;
    online_sum(x, static_cast<size_t>(part.valid_columns), result);
    result[2] = target >= 0 ? static_cast<float>(x[target]) : 0.0f;
  }
}

// x = scale * (factor * exp(x - shift) - one_hot(target)) over the valid columns, 0 behind them; a
// target of -1 is not among them.
template <class T>
void write_gradient(T* x, int64_t valid, int64_t columns, int64_t target, float shift, float factor,
                    float scale) {
  const float of_target = target >= 0 ? static_cast<float>(x[target]) : 0.0f;
  const Float shifts = constant(shift);
  const Float factors = constant(factor * scale);
  for_vectors(static_cast<size_t>(valid), [&](size_t i, auto piece) HWY_ATTR {
    store(hn::Mul(exponential(hn::Sub(load(x + i, piece), shifts)), factors), x + i, piece);
  });
  if (target >= 0) {
    const float p = hn::GetLane(exponential(constant(of_target - shift))) * factor;
    x[target] = T((p - 1.0f) * scale);
  }
  std::fill(x + valid, x + columns, T(0.0f));
}

template <class T>
void gradient_as(const Tensor& logits, const Tensor& targets, const VocabularyPart& part,
                 const Tensor& log_sum, float scale, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const int32_t wanted = targets.as<int32_t>()[row];
    write_gradient(logits.as<T>() + row * logits.stride[0], wanted < 0 ? 0 : part.valid_columns,
                   logits.shape[1], column_of(wanted, part), log_sum.as<float>()[row], 1.0f, scale);
  }
}

// Loss and gradient of a row while it is in the cache.
template <class T>
void fused_as(const Tensor& logits, const Tensor& targets, const VocabularyPart& part,
              const Tensor& loss, float scale, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    T* x = logits.as<T>() + row * logits.stride[0];
    float& row_loss = loss.as<float>()[row];
    const int32_t wanted = targets.as<int32_t>()[row];
    if (wanted < 0) {
      row_loss = 0;
      std::fill(x, x + logits.shape[1], T(0.0f));
      continue;
    }
    const int64_t target = column_of(wanted, part);
    const double of_target = target >= 0 ? static_cast<float>(x[target]) : 0.0f;
    float s[2];
    online_sum(x, static_cast<size_t>(part.valid_columns), s);
    row_loss = static_cast<float>(s[0] - of_target + std::log(double{s[1]}));
    write_gradient(x, part.valid_columns, logits.shape[1], target, s[0], 1.0f / s[1], scale);
  }
}

void statistics_rows(const Tensor& logits, const Tensor& targets, const VocabularyPart& part,
                     const Tensor& statistics, int64_t begin, int64_t end) {
  const auto run = logits.dtype == DType::f32 ? statistics_as<float> : statistics_as<bf16>;
  run(logits, targets, part, statistics, begin, end);
}

void gradient_rows(const Tensor& logits, const Tensor& targets, const VocabularyPart& part,
                   const Tensor& log_sum, float scale, int64_t begin, int64_t end) {
  const auto run = logits.dtype == DType::f32 ? gradient_as<float> : gradient_as<bf16>;
  run(logits, targets, part, log_sum, scale, begin, end);
}

void fused_rows(const Tensor& logits, const Tensor& targets, const VocabularyPart& part,
                const Tensor& loss, float scale, int64_t begin, int64_t end) {
  const auto run = logits.dtype == DType::f32 ? fused_as<float> : fused_as<bf16>;
  run(logits, targets, part, loss, scale, begin, end);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace switchyard::ops
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "core/error.h"
#include "core/ops/backends.h"
#include "core/ops/parallel_blocks.h"

namespace switchyard::ops {
HWY_EXPORT(statistics_rows);
HWY_EXPORT(gradient_rows);
HWY_EXPORT(fused_rows);

namespace {

void check_values(std::string_view where, const Tensor& targets) {
  for (const int32_t target : targets.span<int32_t>()) {
    check(target >= -1, where, "target {} was given; a column, or -1 to leave it out, is allowed",
          target);
  }
}

// log(sum(exp(logit))) and the loss of a row from the statistics of all parts, in float64.
void combine_row(const Tensor& statistics, int64_t row, bool counted, float& log_sum, float& loss) {
  const int64_t parts = statistics.shape[0];
  const int64_t rows = statistics.shape[1];
  const auto of_part = [&](int64_t part) {
    return statistics.as<float>() + (part * rows + row) * 3;
  };
  double max = -std::numeric_limits<double>::max();
  for (int64_t part = 0; part < parts; ++part) max = std::max<double>(max, of_part(part)[0]);
  double sum = 0;
  double of_target = 0;
  for (int64_t part = 0; part < parts; ++part) {
    const float* s = of_part(part);
    if (s[1] != 0) sum += s[1] * std::exp(s[0] - max);
    of_target += s[2];
  }
  log_sum = static_cast<float>(max + std::log(sum));
  loss = counted ? static_cast<float>(max - of_target + std::log(sum)) : 0.0f;
}

float factor_of(const GradientScale& scale) {
  return scale.multiplier * (scale.loss_scale ? *scale.loss_scale.as<float>() : 1.0f);
}

}  // namespace

void cpu::cross_entropy_statistics(const Context&, const Tensor& logits, const Tensor& targets,
                                   const VocabularyPart& part, const Tensor& statistics) {
  check_values("cross_entropy_statistics", targets);
  parallel_blocks(logits.shape[0], 4, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(statistics_rows)(logits, targets, part, statistics, begin, end);
  });
}

void cpu::cross_entropy_combine(const Context&, const Tensor& statistics, const Tensor& targets,
                                const Tensor& log_sum, const Tensor& loss) {
  check_values("cross_entropy_combine", targets);
  const int32_t* target = targets.as<int32_t>();
  parallel_blocks(statistics.shape[1], 64, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      combine_row(statistics, row, target[row] >= 0, log_sum.as<float>()[row],
                  loss.as<float>()[row]);
    }
  });
}

void cpu::cross_entropy_gradient(const Context&, const Tensor& logits, const Tensor& targets,
                                 const VocabularyPart& part, const Tensor& log_sum,
                                 const GradientScale& scale) {
  check_values("cross_entropy_gradient", targets);
  parallel_blocks(logits.shape[0], 4, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(gradient_rows)
    (logits, targets, part, log_sum, factor_of(scale), begin, end);
  });
}

void cpu::cross_entropy(const Context&, const Tensor& logits, const Tensor& targets,
                        const VocabularyPart& part, const Tensor& loss,
                        const GradientScale& scale) {
  check_values("cross_entropy", targets);
  parallel_blocks(logits.shape[0], 4, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(fused_rows)(logits, targets, part, loss, factor_of(scale), begin, end);
  });
}

}  // namespace switchyard::ops
#endif  // HWY_ONCE
