#include <gmock/gmock.h>

#include "core/error.h"
#include "data/training_data.h"

namespace switchyard {
namespace {

TEST(Split, ReadsAndWritesItself) {
  EXPECT_EQ(Split::parse("99,1").parts, (std::vector<double>{99, 1}));
  EXPECT_EQ(Split::parse("969,30,1").to_string(), "969,30,1");
  EXPECT_EQ(Split::parse("1").parts, std::vector<double>{1});
  EXPECT_EQ(Split::parse("0.1,0.05").to_string(), "0.1,0.05");
  EXPECT_EQ(Split{}.to_string(), "1");
}

TEST(Split, RefusesWhatIsNoSplit) {
  for (const char* text : {"", ",", "99,", "99,,1", "0,1", "-1,2", "a", "1 ,2", "1,nan", "inf",
                           "1,2,3,4", "1e308,1e308"}) {
    EXPECT_THROW(Split::parse(text), Error) << text;
  }
}

TEST(Split, PartsAddUp) {
  for (const char* text : {"1", "99,1", "969,30,1", "1,1,1", "0.7,0.2,0.1", "1,0,1"}) {
    const Split split = Split::parse(text);
    for (int64_t windows = 0; windows < 400; ++windows) {
      int64_t end = 0;
      for (size_t part = 0; part < split.parts.size(); ++part) {
        const auto range = split.range(part, windows);
        EXPECT_EQ(range.first, end) << text << " of " << windows;
        EXPECT_GE(range.second, range.first);
        end = range.second;
      }
      EXPECT_EQ(end, windows);
    }
  }
  EXPECT_EQ(Split::parse("99,1").range(0, 1000), (std::pair<int64_t, int64_t>{0, 990}));
  EXPECT_EQ(Split::parse("99,1").range(1, 1000), (std::pair<int64_t, int64_t>{990, 1000}));
  EXPECT_THROW(Split::parse("99,1").range(2, 1000), Error);
}

}  // namespace
}  // namespace switchyard
