#pragma once

#include <cstdint>
#include <string>

#include "core/dtype.h"

namespace switchyard {

// What another dtype has cost.
struct RoundingLoss {
  int64_t elements = 0;  // converted
  int64_t rounded = 0;   // of them other numbers than before
  int64_t vanished = 0;  // of these, 0 now
  double largest = 0;    // relative change of one
};

// f32, bf16 and f16; the same dtype is copied. Throws Error naming the tensor for a finite number
// that the dtype cannot hold.
void convert_elements(const void* from, DType from_type, void* to, DType to_type, int64_t elements,
                      const std::string& tensor, RoundingLoss& loss);

// "12 of 100 converted numbers are rounded to bf16, by at most 0.0039 of their size"; "all numbers
// are kept exactly".
std::string describe(const RoundingLoss& loss, DType dtype);

}  // namespace switchyard
