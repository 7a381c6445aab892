#pragma once

#include <cstdint>
#include <string_view>

#include "core/half.h"

namespace switchyard {

enum class DType : uint8_t { f32, bf16, f16, f64, i32, i64, u8, u16 };

int64_t size_of(DType dtype);              // bytes of one element
std::string_view name_of(DType dtype);     // "f32", "bf16", ...
DType dtype_named(std::string_view name);  // throws Error for an unknown name

template <class T>
struct DTypeOf;
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::f32;
};
template <>
struct DTypeOf<bf16> {
  static constexpr DType value = DType::bf16;
};
template <>
struct DTypeOf<f16> {
  static constexpr DType value = DType::f16;
};
template <>
struct DTypeOf<double> {
  static constexpr DType value = DType::f64;
};
template <>
struct DTypeOf<int32_t> {
  static constexpr DType value = DType::i32;
};
template <>
struct DTypeOf<int64_t> {
  static constexpr DType value = DType::i64;
};
template <>
struct DTypeOf<uint8_t> {
  static constexpr DType value = DType::u8;
};
template <>
struct DTypeOf<uint16_t> {
  static constexpr DType value = DType::u16;
};
template <class T>
inline constexpr DType dtype_of = DTypeOf<T>::value;

}  // namespace switchyard
