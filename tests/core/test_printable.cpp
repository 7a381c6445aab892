#include "core/printable.h"

#include <gtest/gtest.h>

namespace switchyard {
namespace {

TEST(Printable, ControlCharactersAreEscapedAndNothingElse) {
  EXPECT_EQ(printable("runs/main@12 'ä' \xe2\x82\xac \\n"), "runs/main@12 'ä' \xe2\x82\xac \\n");
  EXPECT_EQ(printable("a\x1b[31m\n\t\r\x7f"), "a\\x1b[31m\\n\\t\\r\\x7f");
  EXPECT_EQ(printable("a\xc2\x9b"
                      "1m"),
            "a\\x9b1m");
  EXPECT_EQ(printable("\xff\xc2"), "\xff\xc2");  // not UTF-8: a file's name may be anything
  EXPECT_EQ(printable(std::string_view("a\0b", 3)), "a\\x00b");
  EXPECT_EQ(printable_lines("a\n  b\x07"), "a\n  b\\x07");
  EXPECT_EQ(printable_lines("a\nb\n c\n"), "a\\nb\\n c\\n");
}

}  // namespace
}  // namespace switchyard
