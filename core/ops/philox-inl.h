// Philox 4x32-10 over vectors: the words of RandomKey (core/random.h), many at a time.
// Private to core/ops; see highway.h for how a kernel file includes it.

#if defined(SWITCHYARD_CORE_OPS_PHILOX_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SWITCHYARD_CORE_OPS_PHILOX_INL_H_
#undef SWITCHYARD_CORE_OPS_PHILOX_INL_H_
#else
#define SWITCHYARD_CORE_OPS_PHILOX_INL_H_
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>

#include "core/random.h"

HWY_BEFORE_NAMESPACE();
namespace switchyard::ops {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using BlockTag = hn::ScalableTag<uint64_t>;
using Blocks = hn::Vec<BlockTag>;

HWY_INLINE Blocks multiply_low_words(Blocks a, uint32_t b) {
  const hn::Repartition<uint32_t, BlockTag> words;
  return hn::MulEven(hn::BitCast(words, a), hn::Set(words, b));
}

// One block per 64-bit lane. A lane carries one word of its block in its low half; the products
// leave rubbish in the high half, which nothing reads before the last step clears it.
HWY_INLINE void philox_blocks(const RandomKey& key, Blocks index, uint32_t* HWY_RESTRICT out) {
  const BlockTag d;
  Blocks c0 = index;
  Blocks c1 = hn::ShiftRight<32>(index);
  Blocks c2 = hn::Set(d, key.step);
  Blocks c3 = hn::Set(d, key.purpose);
  auto k0 = static_cast<uint32_t>(key.seed);
  auto k1 = static_cast<uint32_t>(key.seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const Blocks product0 = multiply_low_words(c0, 0xD2511F53u);
    const Blocks product1 = multiply_low_words(c2, 0xCD9E8D57u);
    c0 = hn::Xor(hn::Xor(hn::ShiftRight<32>(product1), c1), hn::Set(d, k0));
    c1 = product1;
    c2 = hn::Xor(hn::Xor(hn::ShiftRight<32>(product0), c3), hn::Set(d, k1));
    c3 = product0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  const Blocks low = hn::Set(d, 0xffffffffu);
  const Blocks first = hn::Or(hn::And(c0, low), hn::ShiftLeft<32>(c1));
  const Blocks second = hn::Or(hn::And(c2, low), hn::ShiftLeft<32>(c3));
  hn::StoreInterleaved2(first, second, d, reinterpret_cast<uint64_t*>(out));
}

// Room that random_words needs in its buffer beyond `count`: both ends are widened to whole blocks
// and vectors.
constexpr size_t random_words_slack = 4 + 4 * hn::MaxLanes(BlockTag());

// Writes the words of elements [first, first + count) into `buffer`, aligned to 8 bytes, and
// returns where the word of `first` is: result[i] = key.word(first + i).
HWY_INLINE const uint32_t* random_words(const RandomKey& key, uint64_t first, size_t count,
                                        uint32_t* HWY_RESTRICT buffer) {
  const BlockTag d;
  const Blocks lane = hn::Iota(d, 0);
  const size_t blocks = (first % 4 + count + 3) / 4;
  for (size_t b = 0; b < blocks; b += hn::Lanes(d)) {
    philox_blocks(key, hn::Add(lane, hn::Set(d, first / 4 + b)), buffer + 4 * b);
  }
  return buffer + first % 4;
}

}  // namespace HWY_NAMESPACE
}  // namespace switchyard::ops
HWY_AFTER_NAMESPACE();

#endif  // SWITCHYARD_CORE_OPS_PHILOX_INL_H_
