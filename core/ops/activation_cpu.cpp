#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/ops/activation_cpu.cpp"
#include "core/ops/highway.h"
// Keep this order.
#include <hwy/foreach_target.h>

#include "core/ops/activation.h"
#include "core/ops/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace switchyard::ops {
namespace HWY_NAMESPACE {
namespace {

// The logistic function s of z, and 1 - s without cancellation.
struct Logistic {
  Float value;
  Float rest;
};
HWY_INLINE Logistic logistic(Float z) {
  const Float e = exponential(hn::Neg(z));
  const Float value = hn::Div(constant(1.0f), hn::Add(constant(1.0f), e));
  return {value, hn::Mul(e, value)};
}

// (1 + tanh u) / 2 is the logistic function of 2 u = x (c1 + c3 x^2).
constexpr float tanh_c1 = 1.5957691216057308f;   // 2 sqrt(2 / pi)
constexpr float tanh_c3 = 0.07135481627160025f;  // 0.044715 c1

struct GeluTanh {
  static HWY_INLINE Float value(Float x) {
    const Float c = hn::MulAdd(hn::Mul(x, x), constant(tanh_c3), constant(tanh_c1));
    return hn::Mul(x, logistic(hn::Mul(x, c)).value);
  }
  static HWY_INLINE Float slope(Float x) {
    // Beyond 30 the slope is 0 or 1 and squares might overflow; in this order a NaN comes through.
    const Float near = hn::Max(constant(-30.0f), hn::Min(constant(30.0f), x));
    const Float square = hn::Mul(near, near);
    const Float c = hn::MulAdd(square, constant(tanh_c3), constant(tanh_c1));
    const Float dc = hn::MulAdd(square, constant(3 * tanh_c3), constant(tanh_c1));
    const Logistic s = logistic(hn::Mul(near, c));
    return hn::Mul(s.value, hn::MulAdd(s.rest, hn::Mul(near, dc), constant(1.0f)));
  }
};

struct GeluErf {
  static HWY_INLINE Float value(Float x) { return hn::Mul(x, normal(x).distribution); }
  static HWY_INLINE Float slope(Float x) {
    const Normal n = normal(x);
    const Float density = hn::Mul(n.density, constant(0.3989422804014327f));  // 1 / sqrt(2 pi)
    return hn::MulAdd(x, density, n.distribution);
  }
};

template <class Function, class T>
void forward_row(const T* x, T* y, size_t width) {
  for_vectors(width, [&](size_t i, auto part)
                         HWY_ATTR { store(Function::value(load(x + i, part)), y + i, part); });
}

template <class Function, class T>
void backward_row(const T* x, const T* dy, T* dx, size_t width) {
  for_vectors(width, [&](size_t i, auto part) HWY_ATTR {
    store(hn::Mul(load(dy + i, part), Function::slope(load(x + i, part))), dx + i, part);
  });
}

template <class T>
void swiglu_forward_row(const T* x, T* y, size_t width) {
  for_vectors(width, [&](size_t i, auto part) HWY_ATTR {
    const Float gate = load(x + i, part);
    const Float silu = hn::Mul(gate, logistic(gate).value);
    store(hn::Mul(silu, load(x + width + i, part)), y + i, part);
  });
}

template <class T>
void swiglu_backward_row(const T* x, const T* dy, T* dx, size_t width) {
  for_vectors(width, [&](size_t i, auto part) HWY_ATTR {
    const Float gate = load(x + i, part);
    const Float up = load(x + width + i, part);
    const Float d = load(dy + i, part);
    const Logistic s = logistic(gate);
    const Float slope = hn::Mul(s.value, hn::MulAdd(gate, s.rest, constant(1.0f)));
    store(hn::Mul(hn::Mul(d, up), slope), dx + i, part);
    store(hn::Mul(d, hn::Mul(gate, s.value)), dx + width + i, part);
  });
}

template <class T>
T* row_of(const Tensor& t, int64_t row) {
  return t.as<T>() + row * t.stride[0];
}

template <class T>
void forward_as(Activation kind, const Tensor& x, const Tensor& y, int64_t begin, int64_t end) {
  const auto width = static_cast<size_t>(y.shape[1]);
  for (int64_t row = begin; row < end; ++row) {
    const T* from = row_of<T>(x, row);
    T* to = row_of<T>(y, row);
    if (kind == Activation::gelu_tanh) forward_row<GeluTanh>(from, to, width);
    if (kind == Activation::gelu_erf) forward_row<GeluErf>(from, to, width);
    if (kind == Activation::swiglu) swiglu_forward_row(from, to, width);
  }
}

template <class T>
void backward_as(Activation kind, const Tensor& x, const Tensor& dy, const Tensor& dx,
                 int64_t begin, int64_t end) {
  const auto width = static_cast<size_t>(dy.shape[1]);
  for (int64_t row = begin; row < end; ++row) {
    const T* from = row_of<T>(x, row);
    const T* d = row_of<T>(dy, row);
    T* to = row_of<T>(dx, row);
    if (kind == Activation::gelu_tanh) backward_row<GeluTanh>(from, d, to, width);
    if (kind == Activation::gelu_erf) backward_row<GeluErf>(from, d, to, width);
    if (kind == Activation::swiglu) swiglu_backward_row(from, d, to, width);
  }
}

void forward_rows(Activation kind, const Tensor& x, const Tensor& y, int64_t begin, int64_t end) {
  const auto run = x.dtype == DType::f32 ? forward_as<float> : forward_as<bf16>;
  run(kind, x, y, begin, end);
}

void backward_rows(Activation kind, const Tensor& x, const Tensor& dy, const Tensor& dx,
                   int64_t begin, int64_t end) {
  const auto run = x.dtype == DType::f32 ? backward_as<float> : backward_as<bf16>;
  run(kind, x, dy, dx, begin, end);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace switchyard::ops
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "core/ops/backends.h"
#include "core/ops/parallel_blocks.h"

namespace switchyard::ops {
HWY_EXPORT(forward_rows);
HWY_EXPORT(backward_rows);

namespace {

// Rows that make up enough work for a thread to start on.
int64_t rows_per_block(int64_t width) {
  return std::max<int64_t>(1, 8192 / std::max<int64_t>(1, width));
}

}  // namespace

void cpu::activation_forward(const Context&, Activation kind, const Tensor& x, const Tensor& y) {
  parallel_blocks(x.shape[0], rows_per_block(x.shape[1]), [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(forward_rows)(kind, x, y, begin, end);
  });
}

void cpu::activation_backward(const Context&, Activation kind, const Tensor& x, const Tensor& dy,
                              const Tensor& dx) {
  parallel_blocks(x.shape[0], rows_per_block(x.shape[1]), [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(backward_rows)(kind, x, dy, dx, begin, end);
  });
}

}  // namespace switchyard::ops
#endif  // HWY_ONCE
