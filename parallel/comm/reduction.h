#pragma once

#include <cstdint>
#include <type_traits>

#include "core/half.h"
#include "core/portable.h"
#include "parallel/comm/reduce_op.h"

// How ranks' parts are combined, on the host and in kernels: the same bits on both.
namespace switchyard {

// What sums are held in: f32 for bf16 and f16.
template <class T>
struct Accumulator {
  using type = T;
};
template <>
struct Accumulator<bf16> {
  using type = float;
};
template <>
struct Accumulator<f16> {
  using type = float;
};

// Integers may wrap; a maximum with a NaN on either side is NaN.
template <ReduceOp op, class A>
SWITCHYARD_PORTABLE A combine(A a, A b) {
  if constexpr (op == ReduceOp::max) {
    const A larger = a > b ? a : b;  // b when either is NaN
    if constexpr (std::is_floating_point_v<A>) return a != a ? a : larger;
    return larger;
  } else if constexpr (std::is_integral_v<A>) {
    using U = std::make_unsigned_t<A>;
    return static_cast<A>(static_cast<U>(static_cast<U>(a) + static_cast<U>(b)));
  } else {
    return a + b;
  }
}

}  // namespace switchyard
