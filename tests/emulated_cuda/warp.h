#pragma once

#include <cstring>
#include <type_traits>

#include "tests/emulated_cuda/block.h"

// The warp functions of the CUDA C++ Programming Guide, "Warp Shuffle Functions", "Warp Vote
// Functions", "Warp Match Functions" and "Warp Reduce Functions".
namespace emulated {

template <class T>
T shuffle(unsigned mask, T value, int source, const Where& where) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8);
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = warp_operation(WarpKind::shuffle, mask, bits, source, where);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

// First lane of this lane's group of `width`.
inline int group_start(int width) {
  const int self = static_cast<int>(lane());
  return self - self % width;
}

}  // namespace emulated

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32,
              const emulated::Where& where = emulated::Where::current()) {
  return emulated::shuffle(mask, value, emulated::group_start(width) + (source & (width - 1)),
                           where);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int offset, int width = 32,
                  const emulated::Where& where = emulated::Where::current()) {
  const int self = static_cast<int>(emulated::lane());
  int source = self ^ offset;
  // Groups may read earlier ones; later ones give a lane its own value.
  if (source >= emulated::group_start(width) + width) source = self;
  return emulated::shuffle(mask, value, source, where);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned offset, int width = 32,
                 const emulated::Where& where = emulated::Where::current()) {
  const int self = static_cast<int>(emulated::lane());
  const int source = self - static_cast<int>(offset);
  return emulated::shuffle(mask, value, source < emulated::group_start(width) ? self : source,
                           where);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned offset, int width = 32,
                   const emulated::Where& where = emulated::Where::current()) {
  const int self = static_cast<int>(emulated::lane());
  const int source = self + static_cast<int>(offset);
  return emulated::shuffle(mask, value,
                           source >= emulated::group_start(width) + width ? self : source, where);
}

inline void __syncwarp(unsigned mask = 0xffffffffu,
                       const emulated::Where& where = emulated::Where::current()) {
  emulated::warp_operation(emulated::WarpKind::synchronize, mask, 0, 0, where);
}
inline unsigned __ballot_sync(unsigned mask, int predicate,
                              const emulated::Where& where = emulated::Where::current()) {
  return static_cast<unsigned>(
      emulated::warp_operation(emulated::WarpKind::ballot, mask, predicate != 0, 0, where));
}
inline int __any_sync(unsigned mask, int predicate,
                      const emulated::Where& where = emulated::Where::current()) {
  return __ballot_sync(mask, predicate, where) != 0;
}
inline int __all_sync(unsigned mask, int predicate,
                      const emulated::Where& where = emulated::Where::current()) {
  return __ballot_sync(mask, predicate, where) == mask;
}
template <class T>
unsigned __match_any_sync(unsigned mask, T value,
                          const emulated::Where& where = emulated::Where::current()) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8);
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  return static_cast<unsigned>(
      emulated::warp_operation(emulated::WarpKind::match, mask, bits, 0, where));
}
template <class T>
unsigned __match_all_sync(unsigned mask, T value, int* all,
                          const emulated::Where& where = emulated::Where::current()) {
  *all = __match_any_sync(mask, value, where) == mask;
  return *all ? mask : 0;
}

namespace emulated {

template <class T, class Operation>
T reduce(unsigned mask, T value, const Where& where, Operation operation) {
  bool first = true;
  T result{};
  for (int source = 0; source < 32; ++source) {
    if ((mask >> source & 1) == 0) continue;
    const T other = shuffle(mask, value, source, where);
    result = first ? other : operation(result, other);
    first = false;
  }
  return result;
}

}  // namespace emulated

#define EMULATED_WARP_REDUCTION(name, type, expression)                         \
  inline type name(unsigned mask, type value,                                   \
                   const emulated::Where& where = emulated::Where::current()) { \
    return emulated::reduce(mask, value, where,                                 \
                            [](type a, type b) -> type { return expression; }); \
  }
EMULATED_WARP_REDUCTION(__reduce_add_sync, unsigned, a + b)
EMULATED_WARP_REDUCTION(__reduce_add_sync, int, a + b)
EMULATED_WARP_REDUCTION(__reduce_min_sync, unsigned, a < b ? a : b)
EMULATED_WARP_REDUCTION(__reduce_min_sync, int, a < b ? a : b)
EMULATED_WARP_REDUCTION(__reduce_max_sync, unsigned, a > b ? a : b)
EMULATED_WARP_REDUCTION(__reduce_max_sync, int, a > b ? a : b)
EMULATED_WARP_REDUCTION(__reduce_and_sync, unsigned, a& b)
EMULATED_WARP_REDUCTION(__reduce_or_sync, unsigned, a | b)
EMULATED_WARP_REDUCTION(__reduce_xor_sync, unsigned, a ^ b)
#undef EMULATED_WARP_REDUCTION

// Lanes of this warp that have not ended: fibers have no other notion of being active.
inline unsigned __activemask() { return emulated::lanes_not_finished(); }
