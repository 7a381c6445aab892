// The dropout mask of one row, as vectors. Private to core/ops; include after vector-inl.h and
// philox-inl.h.

#if defined(SWITCHYARD_CORE_OPS_DROPOUT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SWITCHYARD_CORE_OPS_DROPOUT_INL_H_
#undef SWITCHYARD_CORE_OPS_DROPOUT_INL_H_
#else
#define SWITCHYARD_CORE_OPS_DROPOUT_INL_H_
#endif

#include <algorithm>

#include "core/ops/dropout.h"
#include "core/ops/philox-inl.h"
#include "core/ops/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace switchyard::ops {
namespace HWY_NAMESPACE {

// Keeps everything.
struct NoMask {
  HWY_INLINE Float operator()(Float v) const { return v; }
};

// Scales what is kept by 1 / (1 - p), makes the rest 0.
struct Mask {
  Words words;
  Words threshold;
  Float factor;
  HWY_INLINE Float operator()(Float v) const {
    const auto dropped = hn::RebindMask(FloatTag(), hn::Gt(threshold, words));
    return hn::IfThenZeroElse(dropped, hn::Mul(v, factor));
  }
};

// Calls body(first element, All or First, mask) for each vector of row `row` of `columns` elements.
template <class Body>
HWY_INLINE void for_masked_vectors(const Dropout& options, size_t row, size_t columns,
                                   const Body& body) {
  if (options.probability == 0) {
    for_vectors(columns, [&](size_t i, auto part) HWY_ATTR { body(i, part, NoMask()); });
    return;
  }
  constexpr size_t chunk = 1024;
  HWY_ALIGN uint32_t buffer[chunk + random_words_slack];
  const Words threshold = hn::Set(WordTag(), dropout_threshold(options.probability));
  const Float factor = constant(static_cast<float>(1.0 / (1.0 - options.probability)));
  const auto row_id = static_cast<uint64_t>(options.row_ids.as<int64_t>()[row]);
  for (size_t begin = 0; begin < columns; begin += chunk) {
    const size_t count = std::min(chunk, columns - begin);
    const uint32_t* words = random_words(options.key, row_id * columns + begin, count, buffer);
    for_vectors(count, [&](size_t i, auto part) HWY_ATTR {
      body(begin + i, part, Mask{hn::LoadU(WordTag(), words + i), threshold, factor});
    });
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace switchyard::ops
HWY_AFTER_NAMESPACE();

#endif  // SWITCHYARD_CORE_OPS_DROPOUT_INL_H_
