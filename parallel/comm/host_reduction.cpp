#include "parallel/comm/host_reduction.h"

#include <algorithm>
#include <array>

#include "core/error.h"
#include "parallel/comm/reduction.h"

namespace switchyard {

namespace {

// By blocks that stay in the first cache, so that out may be one of the parts.
template <ReduceOp op, class T>
void reduce(std::span<const void* const> parts, T* out, int64_t count) {
  using A = typename Accumulator<T>::type;
  constexpr int64_t block = 1024;
  std::array<A, block> sum;
  for (int64_t begin = 0; begin < count; begin += block) {
    const int64_t n = std::min(block, count - begin);
    const T* first = static_cast<const T*>(parts[0]) + begin;
    for (int64_t i = 0; i < n; ++i) sum[static_cast<size_t>(i)] = static_cast<A>(first[i]);
    for (const void* part : parts.subspan(1)) {
      const T* p = static_cast<const T*>(part) + begin;
      for (int64_t i = 0; i < n; ++i) {
        A& s = sum[static_cast<size_t>(i)];
        s = combine<op>(s, static_cast<A>(p[i]));
      }
    }
    for (int64_t i = 0; i < n; ++i) out[begin + i] = static_cast<T>(sum[static_cast<size_t>(i)]);
  }
}

template <class T>
void dispatch(std::span<const void* const> parts, void* out, int64_t count, ReduceOp op) {
  if (op == ReduceOp::sum)
    reduce<ReduceOp::sum>(parts, static_cast<T*>(out), count);
  else
    reduce<ReduceOp::max>(parts, static_cast<T*>(out), count);
}

}  // namespace

void reduce_on_host(std::span<const void* const> parts, void* out, int64_t count, DType dtype,
                    ReduceOp op) {
  check(!parts.empty(), "communicator", "nothing to reduce; at least one part is needed");
  switch (dtype) {
    case DType::f32:
      return dispatch<float>(parts, out, count, op);
    case DType::bf16:
      return dispatch<bf16>(parts, out, count, op);
    case DType::f16:
      return dispatch<f16>(parts, out, count, op);
    case DType::f64:
      return dispatch<double>(parts, out, count, op);
    case DType::i32:
      return dispatch<int32_t>(parts, out, count, op);
    case DType::i64:
      return dispatch<int64_t>(parts, out, count, op);
    case DType::u8:
      return dispatch<uint8_t>(parts, out, count, op);
    case DType::u16:
      return dispatch<uint16_t>(parts, out, count, op);
  }
  fail("communicator", "unknown dtype {}", static_cast<int>(dtype));
}

}  // namespace switchyard
