#pragma once

#include <cstdint>
#include <string_view>

namespace switchyard {

// The codes of Megatron's indexed dataset for the type of its elements.
enum class TokenType : uint8_t { u8 = 1, i8, i16, i32, i64, f64, f32, u16 };

// Calls `function` with a value of the type that `type` stands for; the floating-point codes, which
// index files refuse, never arrive here.
template <class Function>
decltype(auto) with_token_type(TokenType type, Function&& function) {
  switch (type) {
    case TokenType::u8:
      return function(uint8_t{});
    case TokenType::i8:
      return function(int8_t{});
    case TokenType::i16:
      return function(int16_t{});
    case TokenType::i64:
      return function(int64_t{});
    case TokenType::u16:
      return function(uint16_t{});
    default:
      return function(int32_t{});
  }
}

inline int64_t size_of(TokenType type) {
  return with_token_type(type, [](auto value) { return static_cast<int64_t>(sizeof(value)); });
}

}  // namespace switchyard
