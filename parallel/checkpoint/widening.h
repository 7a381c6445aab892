#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "core/dtype.h"
#include "core/sharded_tensor.h"

namespace switchyard {

bool can_be_widened(DType stored);  // bf16 and f16, to f32

// Reads boxes of bf16 or f16 as f32, through a buffer of bounded size.
class WideningReads {
 public:
  explicit WideningReads(int64_t part_bytes = int64_t{16} << 20) : part_bytes_(part_bytes) {}

  // `reads` gives a part's elements as they are stored, row-major: parts are whole but for axis 0,
  // of at most part_bytes or a single row, and come in order. out: the box, row-major.
  using Read = std::function<void(const Box& part, void* out)>;
  void read(const Box& box, DType stored, float* out, const Read& reads);

 private:
  int64_t part_bytes_;
  std::vector<char> buffer_;
};

}  // namespace switchyard
