#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/ops/norm/cpu.cpp"
#include "core/ops/highway.h"
// Keep this order.
#include <hwy/foreach_target.h>

#include <cmath>

#include "core/ops/dropout-inl.h"
#include "core/ops/norm/rows.h"

HWY_BEFORE_NAMESPACE();
namespace switchyard::ops {
namespace HWY_NAMESPACE {
namespace {

template <class T>
T* row_of(const Tensor& t, size_t row, size_t hidden) {
  return t ? t.as<T>() + row * hidden : nullptr;
}

// sum = residual + dropout(x + bias)
template <class T>
void add_branch(const ResidualNorm& t, const float* bias, size_t row, size_t hidden) {
  const T* residual = row_of<T>(t.residual, row, hidden);
  const T* x = row_of<T>(t.x, row, hidden);
  T* sum = row_of<T>(t.sum, row, hidden);
  for_masked_vectors(t.dropout, row, hidden, [&](size_t i, auto part, auto mask) HWY_ATTR {
    Float branch = load(x + i, part);
    if (bias != nullptr) branch = hn::Add(branch, load(bias + i, part));
    store(hn::Add(load(residual + i, part), mask(branch)), sum + i, part);
  });
}

struct Statistics {
  float mean = 0;
  float reciprocal = 0;
};

// From the row as it is stored, which is what backward will read. The variance takes a second pass
// over the row, still in cache, since E[x^2] - E[x]^2 cancels.
template <class T>
Statistics statistics_of(const ResidualNorm& t, const T* row, size_t hidden) {
  Statistics s;
  const auto n = static_cast<float>(hidden);
  if (t.kind == Norm::layer) {
    s.mean =
        sum_vectors(hidden, [&](size_t i, auto part) HWY_ATTR { return load(row + i, part); }) / n;
  }
  const Float mean = constant(s.mean);
  const float squares = sum_vectors(hidden, [&](size_t i, auto part) HWY_ATTR {
    const Float centred = hn::Sub(load(row + i, part), mean);
    return hn::Mul(centred, centred);
  });
  s.reciprocal = 1.0f / std::sqrt(squares / n + t.epsilon);
  return s;
}

template <class T>
void normalize(const NormParameters& p, const Statistics& s, const T* row, T* y, size_t hidden) {
  const Float mean = constant(s.mean);
  const Float reciprocal = constant(s.reciprocal);
  for_vectors(hidden, [&](size_t i, auto part) HWY_ATTR {
    const Float standard = hn::Mul(hn::Sub(load(row + i, part), mean), reciprocal);
    const Float shift = p.shift != nullptr ? load(p.shift + i, part) : zero();
    store(hn::MulAdd(standard, load(p.weight + i, part), shift), y + i, part);
  });
}

template <class T>
void forward_rows_as(const ResidualNorm& t, const NormParameters& p, int64_t begin, int64_t end) {
  const auto hidden = static_cast<size_t>(t.residual.shape[1]);
  for (auto row = static_cast<size_t>(begin); row < static_cast<size_t>(end); ++row) {
    if (t.x) add_branch<T>(t, p.bias, row, hidden);
    if (!t.weight) continue;
    const T* from = row_of<T>(t.x ? t.sum : t.residual, row, hidden);
    const Statistics s = statistics_of(t, from, hidden);
    if (t.kind == Norm::layer) t.mean.as<float>()[row] = s.mean;
    t.reciprocal.as<float>()[row] = s.reciprocal;
    normalize(p, s, from, row_of<T>(t.y, row, hidden), hidden);
  }
}

void forward_rows(const ResidualNorm& t, const NormParameters& p, int64_t begin, int64_t end) {
  if (t.residual.dtype == DType::f32) {
    forward_rows_as<float>(t, p, begin, end);
  } else {
    forward_rows_as<bf16>(t, p, begin, end);
  }
}

// d norm = reciprocal * (g - mean(g) - standard * mean(g * standard)) with g = dy * weight and
// standard = (sum - mean) * reciprocal; RMSNorm has no mean(g). Rewritten as
// reciprocal * g + slope * standard + offset.
template <class T>
struct NormGradient {
  const T* sum;
  const T* dy;
  const float* weight;
  Float mean, reciprocal, slope, offset;

  NormGradient(const ResidualNormBackward& t, const float* w, size_t row, size_t hidden)
      : sum(row_of<T>(t.sum, row, hidden)),
        dy(row_of<T>(t.dy, row, hidden)),
        weight(w),
        mean(constant(t.kind == Norm::layer ? t.mean.as<float>()[row] : 0.0f)),
        reciprocal(constant(t.reciprocal.as<float>()[row])) {
    const float r = t.reciprocal.as<float>()[row];
    const auto n = static_cast<float>(hidden);
    const float along = sum_vectors(hidden, [&](size_t i, auto part) HWY_ATTR {
      return hn::Mul(hn::Mul(load(dy + i, part), load(weight + i, part)), standard(i, part));
    });
    float total = 0;
    if (t.kind == Norm::layer) {
      total = sum_vectors(hidden, [&](size_t i, auto part) HWY_ATTR {
        return hn::Mul(load(dy + i, part), load(weight + i, part));
      });
    }
    slope = constant(-r * along / n);
    offset = constant(-r * total / n);
  }

  template <class Part>
  HWY_INLINE Float standard(size_t i, Part part) const {
    return hn::Mul(hn::Sub(load(sum + i, part), mean), reciprocal);
  }
};

template <class Part>
HWY_INLINE void add_into(float* sums, size_t i, Part part, Float v) {
  if (sums != nullptr) store(hn::Add(load(sums + i, part), v), sums + i, part);
}

// The gradient of `sum` in the row, without what dropout and dbias make of it.
template <class T>
void norm_row(const ResidualNormBackward& t, const float* weight, const NormPartials& partials,
              size_t row, size_t hidden) {
  const NormGradient<T> norm(t, weight, row, hidden);
  const T* above = row_of<T>(t.dsum_above, row, hidden);
  T* dsum = row_of<T>(t.dsum, row, hidden);
  for_vectors(hidden, [&](size_t i, auto part) HWY_ATTR {
    const Float dy = load(norm.dy + i, part);
    const Float standard = norm.standard(i, part);
    const Float g = hn::Mul(dy, load(weight + i, part));
    Float d = hn::MulAdd(norm.reciprocal, g, hn::MulAdd(norm.slope, standard, norm.offset));
    if (above != nullptr) d = hn::Add(d, load(above + i, part));
    store(d, dsum + i, part);
    add_into(partials.dweight, i, part, hn::Mul(dy, standard));
    add_into(partials.dshift, i, part, dy);
  });
}

// dx = dropout mask of dsum, and its column sums.
template <class T>
void branch_row(const ResidualNormBackward& t, float* dbias, size_t row, size_t hidden) {
  const T* dsum = row_of<T>(t.dsum, row, hidden);
  T* dx = row_of<T>(t.dx, row, hidden);
  for_masked_vectors(t.dropout, row, hidden, [&](size_t i, auto part, auto mask) HWY_ATTR {
    const Float d = mask(load(dsum + i, part));
    if (dx != nullptr) store(d, dx + i, part);
    add_into(dbias, i, part, d);
  });
}

template <class T>
void backward_rows_as(const ResidualNormBackward& t, const float* weight,
                      const NormPartials& partials, int64_t begin, int64_t end) {
  const auto hidden = static_cast<size_t>(t.dsum.shape[1]);
  for (auto row = static_cast<size_t>(begin); row < static_cast<size_t>(end); ++row) {
    if (weight != nullptr) {
      norm_row<T>(t, weight, partials, row, hidden);
    } else if (t.dsum.data != t.dsum_above.data) {
      std::memcpy(row_of<T>(t.dsum, row, hidden), row_of<T>(t.dsum_above, row, hidden),
                  hidden * sizeof(T));
    }
    if (t.dx || partials.dbias != nullptr) branch_row<T>(t, partials.dbias, row, hidden);
  }
}

void backward_rows(const ResidualNormBackward& t, const float* weight, const NormPartials& partials,
                   int64_t begin, int64_t end) {
  if (t.dsum.dtype == DType::f32) {
    backward_rows_as<float>(t, weight, partials, begin, end);
  } else {
    backward_rows_as<bf16>(t, weight, partials, begin, end);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace switchyard::ops
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "core/ops/backends.h"
#include "core/ops/column_partials.h"
#include "core/ops/parallel_blocks.h"

namespace switchyard::ops {
HWY_EXPORT(forward_rows);
HWY_EXPORT(backward_rows);

namespace {

// A parameter as f32, so that kernels need not be made for each pair of dtypes.
const float* widen(Scratch::Scope& scope, const Tensor& parameter) {
  if (!parameter) return nullptr;
  if (parameter.dtype == DType::f32) return parameter.as<float>();
  const auto from = parameter.span<bf16>();
  const auto to = scope.allocate(parameter.shape, DType::f32).span<float>();
  for (size_t i = 0; i < from.size(); ++i) to[i] = static_cast<float>(from[i]);
  return to.data();
}

}  // namespace

void cpu::residual_norm_forward(const Context& context, const ResidualNorm& t) {
  Scratch::Scope scope(context.scratch);
  const NormParameters parameters{widen(scope, t.weight), widen(scope, t.shift),
                                  widen(scope, t.bias)};
  parallel_blocks(t.residual.shape[0], 16, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(forward_rows)(t, parameters, begin, end);
  });
}

void cpu::residual_norm_backward(const Context& context, const ResidualNormBackward& t) {
  const int64_t rows = t.dsum.shape[0];
  const int64_t hidden = t.dsum.shape[1];
  Scratch::Scope scope(context.scratch);
  const float* weight = widen(scope, t.weight);
  const ColumnPartials sums(scope, rows, 3 * hidden);
  parallel_blocks(rows, sums.block_rows(), [&](int64_t begin, int64_t end) {
    float* part = sums.of(begin);
    const NormPartials partials{t.dweight ? part : nullptr, t.dshift ? part + hidden : nullptr,
                                t.dbias ? part + 2 * hidden : nullptr};
    HWY_DYNAMIC_DISPATCH(backward_rows)(t, weight, partials, begin, end);
  });
  if (t.dweight) sums.add_to(t.dweight.as<float>(), 0, hidden);
  if (t.dshift) sums.add_to(t.dshift.as<float>(), hidden, hidden);
  if (t.dbias) sums.add_to(t.dbias.as<float>(), 2 * hidden, hidden);
}

}  // namespace switchyard::ops
#endif  // HWY_ONCE
