// What stands in options of Slurm's: time limits, and words in quotes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "launch/slurm/option_text.h"

namespace switchyard::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(TimeLimit, InAllOfSlurmsForms) {
  EXPECT_EQ(seconds_of_limit("10"), 600);
  EXPECT_EQ(seconds_of_limit("10:30"), 630);
  EXPECT_EQ(seconds_of_limit("90:00"), 5400);
  EXPECT_EQ(seconds_of_limit("2:10:30"), 7830);
  EXPECT_EQ(seconds_of_limit("1-2"), 93'600);
  EXPECT_EQ(seconds_of_limit("1-2:3"), 93'780);
  EXPECT_EQ(seconds_of_limit("1-02:03:04"), 93'784);
  for (const char* none : {"0", "UNLIMITED", "infinite"}) EXPECT_EQ(seconds_of_limit(none), 0);
  for (const char* wrong : {"", "x", "10m", "1:2:3:4", "1-", "-2", "1-2:3:4:5", ":5", "5:", "+5",
                            "1.5", " 5", "1-2-3", "99999999999999999999"})
    EXPECT_FALSE(seconds_of_limit(wrong)) << wrong;
}

TEST(TimeLimit, LeavesTimeBeforeItsSignal) {
  for (const char* good : {"5:01", "0", "UNLIMITED", "1:00:00"})
    EXPECT_NO_THROW(check_limit("slurm", "--time", good, "--signal-seconds", 300)) << good;
  for (const auto& [text, problem] :
       {std::pair{"5", "--time 5 is 300 s; more than --signal-seconds"},
        {"10m", "--time 10m; M, M:S, H:M:S"}}) {
    try {
      check_limit("slurm", "--time", text, "--signal-seconds", 300);
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr(problem));
    }
  }
}

TEST(OptionWords, AreReadAsByAShell) {
  EXPECT_THAT(words_of_options("--exact  -v "), ElementsAre("--exact", "-v"));
  EXPECT_THAT(words_of_options(R"(--comment="a b" 'it''s "x"' a\ b "\"q\"" '\' "")"),
              ElementsAre("--comment=a b", "its \"x\"", "a b", "\"q\"", "\\", ""));
  EXPECT_TRUE(words_of_options("").empty());
  for (const char* open : {"--comment=\"a b", "it's", "a\\"}) {
    try {
      words_of_options(open);
      ADD_FAILURE() << open;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr("is not closed"));
    }
  }
}

}  // namespace
}  // namespace switchyard::test
