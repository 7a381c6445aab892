#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/ops/rotary_cpu.cpp"
#include "core/ops/highway.h"
// Keep this order.
#include <hwy/foreach_target.h>

#include "core/ops/rotary.h"
#include "core/ops/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace switchyard::ops {
namespace HWY_NAMESPACE {
namespace {

struct Angles {
  Float cos;
  Float sin;
};
HWY_INLINE Angles load_angles(const float* pairs, All) {
  Angles a;
  hn::LoadInterleaved2(FloatTag(), pairs, a.cos, a.sin);
  return a;
}
HWY_INLINE Angles load_angles(const float* pairs, First part) {
  HWY_ALIGN float buffer[2 * hn::MaxLanes(FloatTag())] = {};
  std::memcpy(buffer, pairs, 2 * part.lanes * sizeof(float));
  return load_angles(buffer, All());
}

// Rotates all heads [heads, head_dim] of one token by the angles of its position, [half] pairs.
template <class T>
void rotate_token(T* x, int64_t heads, int64_t head_stride, const float* pairs, size_t half,
                  bool inverse) {
  for_vectors(half, [&](size_t i, auto part) HWY_ATTR {
    Angles a = load_angles(pairs + 2 * i, part);
    if (inverse) a.sin = hn::Neg(a.sin);
    for (int64_t head = 0; head < heads; ++head) {
      T* lower = x + head * head_stride + i;
      T* upper = lower + half;
      const Float l = load(lower, part);
      const Float u = load(upper, part);
      store(hn::NegMulAdd(u, a.sin, hn::Mul(l, a.cos)), lower, part);
      store(hn::MulAdd(l, a.sin, hn::Mul(u, a.cos)), upper, part);
    }
  });
}

template <class T>
void rotate_as(const Tensor& x, const Tensor& table, const int32_t* positions, bool inverse,
               int64_t begin, int64_t end) {
  const int64_t half = table.shape[1];
  for (int64_t token = begin; token < end; ++token) {
    const int64_t batch = token / x.shape[1];
    const int64_t place = token % x.shape[1];
    T* row = x.as<T>() + batch * x.stride[0] + place * x.stride[1];
    const float* pairs = table.as<float>() + positions[place] * half * 2;
    rotate_token(row, x.shape[2], x.stride[2], pairs, static_cast<size_t>(half), inverse);
  }
}

void rotate_tokens(const Tensor& x, const Tensor& table, const int32_t* positions, bool inverse,
                   int64_t begin, int64_t end) {
  const auto run = x.dtype == DType::f32 ? rotate_as<float> : rotate_as<bf16>;
  run(x, table, positions, inverse, begin, end);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace switchyard::ops
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <cmath>

#include "core/error.h"
#include "core/ops/backends.h"
#include "core/ops/parallel_blocks.h"

namespace switchyard::ops {
HWY_EXPORT(rotate_tokens);

void cpu::rotary_table(const Tensor& table, std::span<const double> frequencies) {
  const int64_t half = std::ssize(frequencies);
  float* pairs = table.as<float>();
  parallel_blocks(half, 1, [&](int64_t i, int64_t) {
    const double frequency = frequencies[static_cast<size_t>(i)];
    for (int64_t position = 0; position < table.shape[0]; ++position) {
      const double angle = static_cast<double>(position) * frequency;
      float* pair = pairs + (position * half + i) * 2;
      pair[0] = static_cast<float>(std::cos(angle));
      pair[1] = static_cast<float>(std::sin(angle));
    }
  });
}

void cpu::rotary(const Context&, const Tensor& x, const Tensor& table, const Tensor& positions,
                 bool inverse) {
  for (const int32_t position : positions.span<int32_t>()) {
    check(position >= 0 && position < table.shape[0], "rotary",
          "position {} was given; the table has positions 0 to {}", position, table.shape[0] - 1);
  }
  const int32_t* places = positions.as<int32_t>();
  parallel_blocks(x.shape[0] * x.shape[1], 8, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(rotate_tokens)(x, table, places, inverse, begin, end);
  });
}

}  // namespace switchyard::ops
#endif  // HWY_ONCE
