#pragma once

#include <string>

#include "parallel/checkpoint/safetensors.h"

namespace switchyard {

// The bytes of the tensor's elements. Throws Error, naming `file` and the tensor, for a dtype that
// is not known or has elements of less than a byte, and for a shape of 2^63 bytes or more (axes of
// 0 elements not counted).
int64_t checked_bytes(const SafetensorsEntry& tensor, const std::string& file);
std::string_view safetensors_name(DType dtype);  // of f32, f16 and bf16: "F32"; else Error

}  // namespace switchyard
