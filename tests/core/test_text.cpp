#include "core/text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace switchyard {
namespace {

using testing::ElementsAre;

TEST(Text, NumbersAreTheWholeText) {
  EXPECT_EQ(parse_number<int64_t>("-12"), -12);
  EXPECT_EQ(parse_number<int64_t>("9223372036854775807"), INT64_MAX);
  EXPECT_EQ(parse_number<double>("2.5e-3"), 2.5e-3);
  for (const char* text : {"", "-", "+1", " 1", "1 ", "1x", "x", "0x1", "9223372036854775808"}) {
    EXPECT_EQ(parse_number<int64_t>(text), std::nullopt) << text;
  }
  EXPECT_EQ(parse_number<int>("2147483648"), std::nullopt);
  EXPECT_EQ(parse_number<int64_t>("1.5"), std::nullopt);
  EXPECT_EQ(parse_number<double>("1e999"), std::nullopt);
}

TEST(Text, NumbersAreTakenOff) {
  std::string_view text = "80 GiB";
  EXPECT_EQ(take_number<double>(text), 80);
  EXPECT_EQ(text, " GiB");
  EXPECT_EQ(take_number<double>(text), std::nullopt);
  EXPECT_EQ(text, " GiB");
}

TEST(Text, HexadecimalHoldsSixteenDigits) {
  EXPECT_EQ(parse_hexadecimal("00ffFF"), 0xffffU);
  EXPECT_EQ(parse_hexadecimal("ffffffffffffffff"), UINT64_MAX);
  for (const char* text : {"", "0x1", "-1", "g", "10000000000000000"}) {
    EXPECT_EQ(parse_hexadecimal(text), std::nullopt) << text;
  }
}

TEST(Text, PartsAreOneMoreThanSeparators) {
  EXPECT_THAT(split_at(',', "a,bc"), ElementsAre("a", "bc"));
  EXPECT_THAT(split_at(',', ",a,"), ElementsAre("", "a", ""));
  EXPECT_THAT(split_at(':', ""), ElementsAre(""));
}

}  // namespace
}  // namespace switchyard
