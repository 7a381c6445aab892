#pragma once

#include <bit>
#include <cstdint>

#include "core/portable.h"

// The two 16-bit floating-point formats, as bits. Conversions from float round to nearest, ties to
// even; a NaN stays a NaN. They give the same bits in kernels as on the host, but for which NaN.
namespace switchyard {

// bfloat16: the upper half of an IEEE float32.
struct bf16 {
  uint16_t bits = 0;

  bf16() = default;
  SWITCHYARD_PORTABLE explicit bf16(float value) {
    const auto u = std::bit_cast<uint32_t>(value);
    if ((u & 0x7fffffffu) > 0x7f800000u) {
      bits = static_cast<uint16_t>((u >> 16) | 0x40u);
    } else {
      bits = static_cast<uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
    }
  }
  SWITCHYARD_PORTABLE explicit operator float() const {
    return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
  }
  friend bool operator==(bf16, bf16) = default;
};

// IEEE binary16: 5 bits of exponent; from 65520 on a float becomes infinite.
struct f16 {
  uint16_t bits = 0;

  f16() = default;
  SWITCHYARD_PORTABLE explicit f16(float value) {
    const auto u = std::bit_cast<uint32_t>(value);
    const uint32_t magnitude = u & 0x7fffffffu;
    uint32_t half = 0;
    if (magnitude > 0x7f800000u) {
      half = 0x7e00u;
    } else if (magnitude >= 0x477ff000u) {
      half = 0x7c00u;
    } else if (magnitude < 0x38800000u) {  // subnormal: adding 0.5 rounds at bit 2^-24
      half = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3f000000u;
    } else {
      half = (magnitude + 0xfffu + ((magnitude >> 13) & 1u) - (112u << 23)) >> 13;
    }
    bits = static_cast<uint16_t>(half | ((u >> 16) & 0x8000u));
  }
  SWITCHYARD_PORTABLE explicit operator float() const {
    const uint32_t sign = (bits & 0x8000u) << 16;
    const uint32_t exponent = (bits >> 10) & 31u;
    const uint32_t fraction = bits & 0x3ffu;
    if (exponent == 0) {
      const float value = static_cast<float>(fraction) * 0x1p-24f;
      return std::bit_cast<float>(std::bit_cast<uint32_t>(value) | sign);
    }
    const uint32_t widened = exponent == 31 ? 255u : exponent + 112u;
    return std::bit_cast<float>(sign | (widened << 23) | (fraction << 13));
  }
  friend bool operator==(f16, f16) = default;
};

}  // namespace switchyard
