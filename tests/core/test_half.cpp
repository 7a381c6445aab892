#include "core/half.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace switchyard {
namespace {

// What the bits of a 16-bit format mean, by IEEE 754's definition.
struct Format {
  int exponent_bits;
  int fraction_bits;

  double value_of(uint32_t bits) const {
    const int bias = (1 << (exponent_bits - 1)) - 1;
    const auto exponent = static_cast<int>(bits >> fraction_bits & ((1u << exponent_bits) - 1));
    const double fraction = std::ldexp(bits & ((1u << fraction_bits) - 1), -fraction_bits);
    const double sign = bits >> 15 != 0 ? -1 : 1;
    if (exponent == (1 << exponent_bits) - 1) return fraction == 0 ? sign * INFINITY : NAN;
    if (exponent == 0) return sign * std::ldexp(fraction, 1 - bias);
    return sign * std::ldexp(1 + fraction, exponent - bias);
  }
};

template <class T>
constexpr Format format_of = {8, 7};
template <>
constexpr Format format_of<f16> = {5, 10};

template <class T>
T with_bits(uint32_t bits) {
  T x;
  x.bits = static_cast<uint16_t>(bits);
  return x;
}

template <class T>
class HalfTest : public testing::Test {};
using Formats = testing::Types<bf16, f16>;
TYPED_TEST_SUITE(HalfTest, Formats);

TYPED_TEST(HalfTest, EveryPatternHasItsValueAndComesBack) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const auto x = with_bits<TypeParam>(bits);
    const auto value = static_cast<float>(x);
    const double wanted = format_of<TypeParam>.value_of(bits);
    if (std::isnan(wanted)) {
      ASSERT_TRUE(std::isnan(value)) << bits;
      ASSERT_TRUE(std::isnan(static_cast<float>(TypeParam(value)))) << bits;
      ASSERT_EQ(std::signbit(value), bits >> 15 != 0) << bits;
    } else {
      ASSERT_EQ(static_cast<double>(value), wanted) << bits;
      ASSERT_EQ(std::signbit(value), bits >> 15 != 0) << bits;
      ASSERT_EQ(TypeParam(value).bits, bits);
    }
  }
}

// Between each pair of neighbours: half-way goes to the even one, everything else to the nearer.
TYPED_TEST(HalfTest, RoundsToNearestTiesToEven) {
  for (const uint32_t sign : {0u, 0x8000u}) {
    for (uint32_t bits = 0; std::isfinite(format_of<TypeParam>.value_of(bits + 1)); ++bits) {
      const double below = format_of<TypeParam>.value_of(bits);
      const double above = format_of<TypeParam>.value_of(bits + 1);
      const auto half_way = static_cast<float>((below + above) / 2);  // exact in a float
      const uint32_t even = bits % 2 == 0 ? bits : bits + 1;
      const auto rounded = [&](float value) { return TypeParam(sign != 0 ? -value : value).bits; };
      ASSERT_EQ(rounded(half_way), even | sign) << bits;
      ASSERT_EQ(rounded(std::nextafter(half_way, 0.0f)), bits | sign) << bits;
      ASSERT_EQ(rounded(std::nextafter(half_way, INFINITY)), (bits + 1) | sign) << bits;
    }
  }
}

TEST(Float16, KnownRoundings) {
  EXPECT_EQ(f16(1.0f).bits, 0x3c00);
  EXPECT_EQ(f16(-2.0f).bits, 0xc000);
  EXPECT_EQ(f16(0.1f).bits, 0x2e66);
  EXPECT_EQ(f16(65504.0f).bits, 0x7bff);  // the greatest
  EXPECT_EQ(f16(std::nextafter(65520.0f, 0.0f)).bits, 0x7bff);
  EXPECT_EQ(f16(65520.0f).bits, 0x7c00);
  EXPECT_EQ(f16(std::numeric_limits<float>::max()).bits, 0x7c00);
  EXPECT_EQ(f16(-std::numeric_limits<float>::infinity()).bits, 0xfc00);
  EXPECT_EQ(f16(0x1p-14f).bits, 0x0400);  // the least normal one
  EXPECT_EQ(f16(0x1p-24f).bits, 0x0001);  // the least of all
  EXPECT_EQ(f16(0x1p-25f).bits, 0x0000);  // a tie, down to even
  EXPECT_EQ(f16(std::nextafter(0x1p-25f, 1.0f)).bits, 0x0001);
  EXPECT_EQ(f16(-0x1p-126f).bits, 0x8000);
  EXPECT_EQ(f16(std::numeric_limits<float>::denorm_min()).bits, 0x0000);
}

TEST(BrainFloat16, KnownRoundings) {
  EXPECT_EQ(bf16(1.0f).bits, 0x3f80);
  EXPECT_EQ(bf16(0.1f).bits, 0x3dcd);
  EXPECT_EQ(bf16(std::numeric_limits<float>::max()).bits, 0x7f80);  // becomes infinite
  EXPECT_EQ(bf16(0x1.fep127f).bits, 0x7f7f);                        // the greatest
  EXPECT_EQ(bf16(0x1p-133f).bits, 0x0001);                          // the least
  EXPECT_EQ(bf16(0x1p-134f).bits, 0x0000);                          // a tie, down to even
}

}  // namespace
}  // namespace switchyard
