#include "parallel/checkpoint/widening.h"

#include <algorithm>

#include "core/error.h"
#include "core/half.h"

namespace switchyard {

namespace {

template <class T>
void widen(const char* from, float* to, int64_t elements) {
  const T* stored = reinterpret_cast<const T*>(from);
  for (int64_t i = 0; i < elements; ++i) to[i] = static_cast<float>(stored[i]);
}

}  // namespace

bool can_be_widened(DType stored) { return stored == DType::bf16 || stored == DType::f16; }

void WideningReads::read(const Box& box, DType stored, float* out, const Read& reads) {
  check(can_be_widened(stored), "checkpoint", "{} cannot be read as f32", name_of(stored));
  if (box.empty()) return;
  const int64_t all = box.extent.elements();
  const int64_t rows = box.extent.rank() == 0 ? 1 : box.extent[0];
  const int64_t row = all / rows;
  const int64_t most = std::max<int64_t>(1, part_bytes_ / (row * size_of(stored)));
  for (int64_t begin = 0; begin < rows; begin += most) {
    Box part = box;
    const int64_t count = std::min(most, rows - begin);
    if (box.extent.rank() > 0) {
      part.offset[0] += begin;
      part.extent[0] = count;
    }
    const int64_t elements = count * row;
    buffer_.resize(static_cast<size_t>(elements * size_of(stored)));
    reads(part, buffer_.data());
    float* to = out + begin * row;
    stored == DType::bf16 ? widen<bf16>(buffer_.data(), to, elements)
                          : widen<f16>(buffer_.data(), to, elements);
  }
}

}  // namespace switchyard
