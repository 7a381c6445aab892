// Elementary functions of vectors of float, compiled once for each instruction set.
// Private to core/ops; see highway.h for how a kernel file includes it.

#if defined(SWITCHYARD_CORE_OPS_VECTOR_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SWITCHYARD_CORE_OPS_VECTOR_MATH_INL_H_
#undef SWITCHYARD_CORE_OPS_VECTOR_MATH_INL_H_
#else
#define SWITCHYARD_CORE_OPS_VECTOR_MATH_INL_H_
#endif

#include <hwy/highway.h>

#include "core/ops/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace switchyard::ops {
namespace HWY_NAMESPACE {

// exp(x) to about 1 ulp for x <= 88; above it exp(88), below -87 it is 0. A NaN stays a NaN, where
// Highway's own Exp gives 0. With x = n ln 2 + r, |r| <= ln 2 / 2 (Cody and Waite's ln 2 in two
// parts), exp(r) = 1 + r + r^2 P(r); P is the minimax polynomial of degree 4 (own fit by Remez'
// algorithm, relative error 3.1e-9). Adding 1.5 * 2^23 rounds to n and leaves it in the low bits.
HWY_INLINE Float exponential(Float x) {
  const FloatTag d;
  const hn::RebindToSigned<FloatTag> integers;
  const Float shifter = constant(12582912.0f);
  x = hn::Min(constant(88.0f), x);  // in this order a NaN comes through
  const Float shifted = hn::MulAdd(x, constant(1.44269504089f), shifter);
  const Float n = hn::Sub(shifted, shifter);
  Float r = hn::NegMulAdd(n, constant(0x1.62e400p-1f), x);
  r = hn::NegMulAdd(n, constant(0x1.7f7d1cp-20f), r);
  Float p = constant(1.3814456760883331e-3f);
  p = hn::MulAdd(p, r, constant(8.3687799051404e-3f));
  p = hn::MulAdd(p, r, constant(4.166839271783829e-2f));
  p = hn::MulAdd(p, r, constant(1.666651964187622e-1f));
  p = hn::MulAdd(p, r, constant(4.999999403953552e-1f));
  const Float y = hn::Add(hn::MulAdd(p, hn::Mul(r, r), r), constant(1.0f));
  const auto power =
      hn::Add(hn::ShiftLeft<23>(hn::BitCast(integers, shifted)), hn::Set(integers, 127 << 23));
  return hn::IfThenZeroElse(hn::Lt(x, constant(-87.0f)), hn::Mul(y, hn::BitCast(d, power)));
}

struct Normal {
  Float density;       // exp(-x^2 / 2), without the factor 1 / sqrt(2 pi)
  Float distribution;  // Phi(x) = (1 + erf(x / sqrt 2)) / 2, off by 1.5e-7 at most
};

// Phi(-|x|) = exp(-x^2 / 2) t P(t) with t = 1 / (1 + 0.35 |x|): the form of Abramowitz and Stegun
// 7.1.26 with a minimax polynomial of degree 8 (own fit by Remez' algorithm on |x| <= 14, relative
// error 3.2e-8).
HWY_INLINE Normal normal(Float x) {
  const Float one = constant(1.0f);
  const Float t = hn::Div(one, hn::MulAdd(hn::Abs(x), constant(0.35f), one));
  Float p = constant(-0.02914590574800968f);
  p = hn::MulAdd(p, t, constant(0.1439715474843979f));
  p = hn::MulAdd(p, t, constant(-0.25571390986442566f));
  p = hn::MulAdd(p, t, constant(0.15917372703552246f));
  p = hn::MulAdd(p, t, constant(-0.023109525442123413f));
  p = hn::MulAdd(p, t, constant(0.10550787299871445f));
  p = hn::MulAdd(p, t, constant(0.11983289569616318f));
  p = hn::MulAdd(p, t, constant(0.13986186683177948f));
  p = hn::MulAdd(p, t, constant(0.13962140679359436f));
  const Float density = exponential(hn::Mul(hn::Mul(x, constant(-0.5f)), x));
  const Float tail = hn::Mul(density, hn::Mul(p, t));
  return {density, hn::IfThenElse(hn::Lt(x, zero()), tail, hn::Sub(one, tail))};
}

}  // namespace HWY_NAMESPACE
}  // namespace switchyard::ops
HWY_AFTER_NAMESPACE();

#endif  // SWITCHYARD_CORE_OPS_VECTOR_MATH_INL_H_
