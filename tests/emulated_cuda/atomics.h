#pragma once

// Atomics on integers, with nvcc's overloads. There are none on floats: sums of floats in an order
// of chance are not deterministic.
#define EMULATED_ATOMIC(name, type, builtin) \
  inline type name(type* at, type value) { return builtin(at, value, __ATOMIC_SEQ_CST); }
#define EMULATED_ATOMICS(type)                                                                   \
  EMULATED_ATOMIC(atomicAdd, type, __atomic_fetch_add)                                           \
  EMULATED_ATOMIC(atomicAnd, type, __atomic_fetch_and)                                           \
  EMULATED_ATOMIC(atomicOr, type, __atomic_fetch_or)                                             \
  EMULATED_ATOMIC(atomicXor, type, __atomic_fetch_xor)                                           \
  EMULATED_ATOMIC(atomicExch, type, __atomic_exchange_n)                                         \
  inline type atomicCAS(type* at, type compare, type value) {                                    \
    __atomic_compare_exchange_n(at, &compare, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
    return compare;                                                                              \
  }
EMULATED_ATOMICS(int)
EMULATED_ATOMICS(unsigned)
EMULATED_ATOMICS(unsigned long long)
EMULATED_ATOMIC(atomicSub, int, __atomic_fetch_sub)
EMULATED_ATOMIC(atomicSub, unsigned, __atomic_fetch_sub)
#undef EMULATED_ATOMICS
#undef EMULATED_ATOMIC

namespace emulated {

template <class T, class Next>
T update(T* at, Next next) {
  T old = __atomic_load_n(at, __ATOMIC_SEQ_CST);
  while (!__atomic_compare_exchange_n(at, &old, next(old), false, __ATOMIC_SEQ_CST,
                                      __ATOMIC_SEQ_CST)) {
  }
  return old;
}

}  // namespace emulated

#define EMULATED_ATOMIC_RANGE(type)                                                   \
  inline type atomicMax(type* at, type value) {                                       \
    return emulated::update(at, [=](type old) { return old > value ? old : value; }); \
  }                                                                                   \
  inline type atomicMin(type* at, type value) {                                       \
    return emulated::update(at, [=](type old) { return old < value ? old : value; }); \
  }
EMULATED_ATOMIC_RANGE(int)
EMULATED_ATOMIC_RANGE(unsigned)
EMULATED_ATOMIC_RANGE(long long)
EMULATED_ATOMIC_RANGE(unsigned long long)
#undef EMULATED_ATOMIC_RANGE

inline unsigned atomicInc(unsigned* at, unsigned most) {
  return emulated::update(at, [=](unsigned old) { return old >= most ? 0u : old + 1; });
}
inline unsigned atomicDec(unsigned* at, unsigned most) {
  return emulated::update(at,
                          [=](unsigned old) { return old == 0 || old > most ? most : old - 1; });
}

inline void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
inline void __threadfence_block() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
inline void __threadfence_system() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
