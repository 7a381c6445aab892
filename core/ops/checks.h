#pragma once

#include <algorithm>
#include <initializer_list>
#include <string>
#include <string_view>

#include "core/error.h"
#include "core/tensor.h"

// Private to core/ops: what every operator checks of its arguments before it calls a backend.
namespace switchyard::ops {

inline void check_rank(std::string_view where, std::string_view name, const Tensor& t, int rank) {
  check(t.shape.rank() == rank, where, "{} has shape {}; {} axes are allowed", name,
        t.shape.to_string(), rank);
}

inline void check_shape(std::string_view where, std::string_view name, const Tensor& t,
                        const Shape& allowed) {
  check(t.shape == allowed, where, "{} has shape {}; {} is allowed", name, t.shape.to_string(),
        allowed.to_string());
}

inline void check_dtype(std::string_view where, std::string_view name, const Tensor& t,
                        std::initializer_list<DType> allowed) {
  if (std::find(allowed.begin(), allowed.end(), t.dtype) != allowed.end()) return;
  std::string names;
  for (const DType dtype : allowed) {
    if (!names.empty()) names += ", ";
    names += name_of(dtype);
  }
  fail(where, "{} is {}; allowed: {}", name, name_of(t.dtype), names);
}

// The floats that operators compute with: f32 and bf16, on a GPU f16, too.
inline void check_floating(std::string_view where, std::string_view name, const Tensor& t) {
  if (t.device == Device::cuda) {
    check_dtype(where, name, t, {DType::f32, DType::bf16, DType::f16});
  } else {
    check_dtype(where, name, t, {DType::f32, DType::bf16});
  }
}

inline void check_device(std::string_view where, std::string_view name, const Tensor& t,
                         Device allowed) {
  check(t.device == allowed, where, "{} is on '{}'; the other tensors are on '{}'", name,
        name_of(t.device), name_of(allowed));
}

inline void check_contiguous(std::string_view where, std::string_view name, const Tensor& t) {
  check(t.is_contiguous(), where, "{} of shape {} is strided; it must be contiguous", name,
        t.shape.to_string());
}

// Rows may be strided, the elements of a row lie side by side.
inline void check_dense_last_axis(std::string_view where, std::string_view name, const Tensor& t) {
  const int last = t.shape.rank() - 1;
  check(last < 0 || t.shape[last] <= 1 || t.stride[static_cast<size_t>(last)] == 1, where,
        "{} has a stride of {} on its last axis; 1 is allowed", name,
        last < 0 ? 0 : t.stride[static_cast<size_t>(last)]);
}

}  // namespace switchyard::ops
