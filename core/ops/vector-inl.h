// Vectors of float over memory that holds f32 or bf16, compiled once for each instruction set.
// Private to core/ops; see highway.h for how a kernel file includes it.

#if defined(SWITCHYARD_CORE_OPS_VECTOR_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SWITCHYARD_CORE_OPS_VECTOR_INL_H_
#undef SWITCHYARD_CORE_OPS_VECTOR_INL_H_
#else
#define SWITCHYARD_CORE_OPS_VECTOR_INL_H_
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "core/dtype.h"

HWY_BEFORE_NAMESPACE();
namespace switchyard::ops {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using FloatTag = hn::ScalableTag<float>;
using WordTag = hn::RebindToUnsigned<FloatTag>;
using Float = hn::Vec<FloatTag>;
using Words = hn::Vec<WordTag>;
using HalfTag = hn::Rebind<uint16_t, FloatTag>;

// How much of a vector is in memory: all of it, or the first lanes at the end of a row.
struct All {};
struct First {
  size_t lanes;
};

HWY_INLINE size_t lanes() { return hn::Lanes(FloatTag()); }
HWY_INLINE Float constant(float value) { return hn::Set(FloatTag(), value); }
HWY_INLINE Float zero() { return hn::Zero(FloatTag()); }

HWY_INLINE Float load(const float* p, All) { return hn::LoadU(FloatTag(), p); }
HWY_INLINE Float load(const bf16* p, All) {
  const auto bits = hn::LoadU(HalfTag(), reinterpret_cast<const uint16_t*>(p));
  return hn::BitCast(FloatTag(), hn::ShiftLeft<16>(hn::PromoteTo(WordTag(), bits)));
}

HWY_INLINE void store(Float v, float* p, All) { hn::StoreU(v, FloatTag(), p); }
// Rounds to nearest, ties to even; a NaN stays a NaN.
HWY_INLINE void store(Float v, bf16* p, All) {
  const WordTag words;
  const hn::RebindToSigned<WordTag> integers;
  const auto u = hn::BitCast(words, v);
  const auto upper = hn::ShiftRight<16>(u);
  const auto odd = hn::And(upper, hn::Set(words, 1));
  const auto rounded = hn::ShiftRight<16>(hn::Add(hn::Add(u, hn::Set(words, 0x7fff)), odd));
  const auto quiet = hn::Or(upper, hn::Set(words, 0x40));
  const auto nan = hn::RebindMask(words, hn::IsNaN(v));
  const auto bits = hn::BitCast(integers, hn::IfThenElse(nan, quiet, rounded));
  hn::StoreU(hn::DemoteTo(HalfTag(), bits), HalfTag(), reinterpret_cast<uint16_t*>(p));
}

// Missing lanes read as 0 and are not written.
template <class T>
HWY_INLINE Float load(const T* p, First part) {
  HWY_ALIGN T buffer[hn::MaxLanes(FloatTag())] = {};
  std::memcpy(static_cast<void*>(buffer), p, part.lanes * sizeof(T));
  return load(buffer, All());
}
template <class T>
HWY_INLINE void store(Float v, T* p, First part) {
  HWY_ALIGN T buffer[hn::MaxLanes(FloatTag())];
  store(v, buffer, All());
  std::memcpy(static_cast<void*>(p), buffer, part.lanes * sizeof(T));
}

// `v` with missing lanes as 0, so that they do not count in a sum.
HWY_INLINE Float keep(Float v, All) { return v; }
HWY_INLINE Float keep(Float v, First part) {
  return hn::IfThenElseZero(hn::FirstN(FloatTag(), part.lanes), v);
}

HWY_INLINE float sum_of_lanes(Float v) { return hn::GetLane(hn::SumOfLanes(FloatTag(), v)); }

// Calls body(first element, All or First) for each vector of a row; the body is
// [&](size_t i, auto part) HWY_ATTR {...}.
template <class Body>
HWY_INLINE void for_vectors(size_t count, const Body& body) {
  size_t i = 0;
  for (; i + lanes() <= count; i += lanes()) body(i, All());
  if (i < count) body(i, First{count - i});
}

// The sum of term(first element, All or First) over the vectors of a row; four sums run side by
// side because an addition takes four cycles.
template <class Term>
HWY_INLINE float sum_vectors(size_t count, const Term& term) {
  const size_t n = lanes();
  Float s0 = zero(), s1 = zero(), s2 = zero(), s3 = zero();
  size_t i = 0;
  for (; i + 4 * n <= count; i += 4 * n) {
    s0 = hn::Add(s0, term(i, All()));
    s1 = hn::Add(s1, term(i + n, All()));
    s2 = hn::Add(s2, term(i + 2 * n, All()));
    s3 = hn::Add(s3, term(i + 3 * n, All()));
  }
  for (; i + n <= count; i += n) s0 = hn::Add(s0, term(i, All()));
  if (i < count) s1 = hn::Add(s1, keep(term(i, First{count - i}), First{count - i}));
  return sum_of_lanes(hn::Add(hn::Add(s0, s1), hn::Add(s2, s3)));
}

}  // namespace HWY_NAMESPACE
}  // namespace switchyard::ops
HWY_AFTER_NAMESPACE();

#endif  // SWITCHYARD_CORE_OPS_VECTOR_INL_H_
