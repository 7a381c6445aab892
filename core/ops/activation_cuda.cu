#include <algorithm>
#include <initializer_list>
#include <type_traits>

#include "core/cuda/walk_rows.h"
#include "core/ops/activation.h"
#include "core/ops/backends.h"

namespace switchyard::ops {

namespace {

using namespace switchyard::cuda;

// The functions in fp32. For 16-bit elements `fast` takes the hardware's exponential and quotient,
// whose errors of some 2^-21 are far below those of rounding the result.

template <bool fast>
__device__ inline float exponential(float x) {
  if constexpr (fast) return fast_exp(x);
  return expf(x);
}

// The logistic function s of z, and 1 - s without cancellation.
struct Logistic {
  float value, rest;
};
template <bool fast>
__device__ inline Logistic logistic(float z) {
  // Beyond 80, s is 0 or 1 in fp32 and the exponential would overflow; a NaN comes through.
  const float e = exponential<fast>(z < -80.0f ? 80.0f : -z);
  const float value = fast ? fast_reciprocal(1.0f + e) : 1.0f / (1.0f + e);
  return {z < -80.0f ? 0.0f : value, e * value};
}

// (1 + tanh u) / 2 is the logistic function of 2 u = x (c1 + c3 x^2).
constexpr float tanh_c1 = 1.5957691216057308f;   // 2 sqrt(2 / pi)
constexpr float tanh_c3 = 0.07135481627160025f;  // 0.044715 c1

template <bool fast>
struct GeluTanh {
  static __device__ float value(float x) {
    return x * logistic<fast>(x * (tanh_c1 + tanh_c3 * x * x)).value;
  }
  static __device__ float slope(float x) {
    // Beyond 30 the slope is 0 or 1 and squares might overflow; in this order a NaN comes through.
    const float near = x > 30.0f ? 30.0f : x < -30.0f ? -30.0f : x;
    const float square = near * near;
    const Logistic s = logistic<fast>(near * (tanh_c1 + tanh_c3 * square));
    return s.value * (1.0f + s.rest * near * (tanh_c1 + 3 * tanh_c3 * square));
  }
};

template <bool fast>
struct GeluErf {
  // The standard normal distribution.
  static __device__ float distribution(float x) {
    constexpr float root = 0.7071067811865476f;
    return 0.5f * (fast ? 1.0f + erff(x * root) : erfcf(-x * root));
  }
  static __device__ float value(float x) { return x * distribution(x); }
  static __device__ float slope(float x) {
    const float near = x > 30.0f ? 30.0f : x < -30.0f ? -30.0f : x;
    constexpr float factor = 0.3989422804014327f;  // 1 / sqrt(2 pi)
    return distribution(near) + near * factor * exponential<fast>(-0.5f * near * near);
  }
};

template <class Function, class T, int width>
__global__ void forward_kernel(RowWalk walk, const T* x, int64_t x_stride, T* y, int64_t y_stride) {
  walk_rows<width>(
      walk, [=]<int n>(int64_t row, int64_t i) { return load_group<n>(x + row * x_stride + i); },
      [=]<int n>(int64_t row, int64_t i, Group<T, n> group) {
#pragma unroll
        for (int j = 0; j < n; ++j) {
          group[j] = from_float<T>(Function::value(to_float(group[j])));
        }
        store_group(y + row * y_stride + i, group);
      });
}

template <class T, int n>
struct Pair {
  Group<T, n> x, dy;
};

template <class Function, class T, int width>
__global__ void backward_kernel(RowWalk walk, const T* x, int64_t x_stride, const T* dy,
                                int64_t dy_stride, T* dx, int64_t dx_stride) {
  walk_rows<width>(
      walk,
      [=]<int n>(int64_t row, int64_t i) {
        return Pair<T, n>{load_group<n>(x + row * x_stride + i),
                          load_group<n>(dy + row * dy_stride + i)};
      },
      [=]<int n>(int64_t row, int64_t i, Pair<T, n> pair) {
#pragma unroll
        for (int j = 0; j < n; ++j) {
          pair.x[j] = from_float<T>(to_float(pair.dy[j]) * Function::slope(to_float(pair.x[j])));
        }
        store_group(dx + row * dx_stride + i, pair.x);
      });
}

template <class T, int n>
struct GateAndUp {
  Group<T, n> gate, up;
};

// x has the gate in its first walk.columns columns, what it multiplies in as many more.
template <class T, int width>
__global__ void swiglu_forward_kernel(RowWalk walk, const T* x, int64_t x_stride, T* y,
                                      int64_t y_stride) {
  constexpr bool fast = sizeof(T) == 2;
  walk_rows<width>(
      walk,
      [=]<int n>(int64_t row, int64_t i) {
        const T* gate = x + row * x_stride + i;
        return GateAndUp<T, n>{load_group<n>(gate), load_group<n>(gate + walk.columns)};
      },
      [=]<int n>(int64_t row, int64_t i, GateAndUp<T, n> in) {
#pragma unroll
        for (int j = 0; j < n; ++j) {
          const float gate = to_float(in.gate[j]);
          in.up[j] = from_float<T>(gate * logistic<fast>(gate).value * to_float(in.up[j]));
        }
        store_group(y + row * y_stride + i, in.up);
      });
}

template <class T, int n>
struct SwigluInputs {
  Group<T, n> gate, up, dy;
};

template <class T, int width>
__global__ void swiglu_backward_kernel(RowWalk walk, const T* x, int64_t x_stride, const T* dy,
                                       int64_t dy_stride, T* dx, int64_t dx_stride) {
  constexpr bool fast = sizeof(T) == 2;
  walk_rows<width>(
      walk,
      [=]<int n>(int64_t row, int64_t i) {
        const T* gate = x + row * x_stride + i;
        return SwigluInputs<T, n>{load_group<n>(gate), load_group<n>(gate + walk.columns),
                                  load_group<n>(dy + row * dy_stride + i)};
      },
      [=]<int n>(int64_t row, int64_t i, SwigluInputs<T, n> in) {
#pragma unroll
        for (int j = 0; j < n; ++j) {
          const float gate = to_float(in.gate[j]), up = to_float(in.up[j]), d = to_float(in.dy[j]);
          const Logistic s = logistic<fast>(gate);
          in.gate[j] = from_float<T>(d * up * s.value * (1.0f + gate * s.rest));
          in.up[j] = from_float<T>(d * gate * s.value);
        }
        T* dgate = dx + row * dx_stride + i;
        store_group(dgate, in.gate);
        store_group(dgate + walk.columns, in.up);
      });
}

// Whether all elements lie side by side, so that they may be walked as one row. SwiGLU's rows have
// two halves and stay rows.
bool is_flat(Activation kind, std::initializer_list<Tensor> tensors) {
  return kind != Activation::swiglu &&
         std::all_of(tensors.begin(), tensors.end(), [](auto& t) { return t.is_contiguous(); });
}

template <class T>
bool rows_take_packs(Activation kind, int64_t columns, std::initializer_list<Tensor> tensors) {
  if (kind == Activation::swiglu && columns % Pack<T>::size != 0) return false;
  const bool flat = is_flat(kind, tensors);
  return std::all_of(tensors.begin(), tensors.end(), [&](const Tensor& t) {
    return takes_packs<T>(t.data, flat ? 0 : t.stride[0]);
  });
}

RowWalk walk_of(Activation kind, int64_t columns, std::initializer_list<Tensor> tensors,
                int width) {
  const int64_t rows = tensors.begin()->shape[0];
  return is_flat(kind, tensors) ? flat_walk(rows * columns, width) : row_walk(rows, columns, width);
}

// The kernels of a kind.
template <Activation kind, class T, int width>
struct Kernels {
  static constexpr bool fast = sizeof(T) == 2;
  using Function = std::conditional_t<kind == Activation::gelu_tanh, GeluTanh<fast>, GeluErf<fast>>;
  static constexpr auto forward = forward_kernel<Function, T, width>;
  static constexpr auto backward = backward_kernel<Function, T, width>;
};
template <class T, int width>
struct Kernels<Activation::swiglu, T, width> {
  static constexpr auto forward = swiglu_forward_kernel<T, width>;
  static constexpr auto backward = swiglu_backward_kernel<T, width>;
};

// Calls body.template operator()<kind, T>().
template <class Body>
void with_kind(Activation kind, DType dtype, const Body& body) {
  with_floating(dtype, [&]<class T>() {
    switch (kind) {
      case Activation::gelu_tanh:
        return body.template operator()<Activation::gelu_tanh, T>();
      case Activation::gelu_erf:
        return body.template operator()<Activation::gelu_erf, T>();
      case Activation::swiglu:
        return body.template operator()<Activation::swiglu, T>();
    }
  });
}

}  // namespace

void cuda::activation_forward(const Context& context, Activation kind, const Tensor& x,
                              const Tensor& y) {
  const int64_t columns = y.shape[1];
  with_kind(kind, x.dtype, [&]<Activation chosen, class T>() {
    with_width<T>(rows_take_packs<T>(kind, columns, {x, y}), [&]<int width>() {
      launch_walk("activation_forward", Kernels<chosen, T, width>::forward,
                  walk_of(kind, columns, {x, y}, width), context.stream, x.as<T>(), x.stride[0],
                  y.as<T>(), y.stride[0]);
    });
  });
}

void cuda::activation_backward(const Context& context, Activation kind, const Tensor& x,
                               const Tensor& dy, const Tensor& dx) {
  const int64_t columns = dy.shape[1];
  with_kind(kind, x.dtype, [&]<Activation chosen, class T>() {
    with_width<T>(rows_take_packs<T>(kind, columns, {x, dy, dx}), [&]<int width>() {
      launch_walk("activation_backward", Kernels<chosen, T, width>::backward,
                  walk_of(kind, columns, {x, dy, dx}, width), context.stream, x.as<T>(),
                  x.stride[0], dy.as<T>(), dy.stride[0], dx.as<T>(), dx.stride[0]);
    });
  });
}

}  // namespace switchyard::ops
