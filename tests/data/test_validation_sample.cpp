#include "data/validation_sample.h"

#include <gmock/gmock.h>

#include <map>

#include "tests/data/reference_set.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class Validation : public testing::Test {
 protected:
  // `windows` windows of 10 tokens, counted from `first`.
  ValidationSource source(const std::string& name, double weight, int64_t windows,
                          int64_t modulus = 251) {
    const std::string prefix = (folder_.path() / name).string();
    std::filesystem::create_directories(folder_.path() / name);
    test::write_counting_set(prefix, windows * 10 + 1, modulus);
    return {std::make_shared<const TokenDataset>(TokenDataset::open(prefix)), weight, 0, windows};
  }
  // How often each window of a set is read, by its first token (sets of up to 25 windows).
  static std::map<int32_t, int> windows(const ValidationSample& sample, size_t set) {
    std::map<int32_t, int> read;
    std::vector<int32_t> tokens(10), targets(10);
    for (int64_t i = 0; i < sample.samples(set); ++i) {
      sample.read(set, i, tokens, targets);
      ++read[tokens[0]];
    }
    return read;
  }
  test::TemporaryFolder folder_;
};

TEST_F(Validation, DrawsFromAllSetsByTheirWeights) {
  const ValidationSample sample({source("b", 3, 25), source("a", 1, 24)}, 16, 10);
  ASSERT_EQ(sample.sets(), 2u);
  EXPECT_EQ(sample.name(0), "a");
  EXPECT_EQ(sample.samples(0), 4);
  EXPECT_EQ(sample.name(1), "b");
  EXPECT_EQ(sample.samples(1), 12);
  const auto read = windows(sample, 1);
  EXPECT_EQ(read.size(), 12u);           // each once
  EXPECT_GT(read.rbegin()->first, 120);  // and not the first ones of the file
}

TEST_F(Validation, IsTheSameInWhateverOrderAndPlaceTheSetsAreGiven) {
  const auto a = source("a", 1, 25), b = source("b", 1, 24), c = source("c", 1, 23);
  const ValidationSample one({a, b, c}, 20, 10), other({c, b, a}, 20, 10);
  for (size_t set = 0; set < 3; ++set) {
    EXPECT_EQ(one.name(set), other.name(set));
    EXPECT_EQ(windows(one, set), windows(other, set));
  }
  const ValidationSample moved({source("elsewhere/a", 1, 25)}, 8, 10), first({a}, 8, 10);
  EXPECT_EQ(windows(moved, 0), windows(first, 0));
}

TEST_F(Validation, ReadsAWindowAgainOnlyWhenAllWere) {
  const ValidationSample sample({source("few", 1, 3), source("many", 1, 20)}, 100, 10);
  EXPECT_EQ(sample.samples(0) + sample.samples(1), 23);  // no more than there are windows
  const auto few = windows(sample, 0);
  EXPECT_EQ(few.size(), 3u);
  for (const auto& [window, times] : few) EXPECT_THAT(times, testing::AnyOf(3, 4)) << window;
  EXPECT_EQ(windows(sample, 1).size(), static_cast<size_t>(sample.samples(1)));
  const auto whole = windows(ValidationSample({source("many", 0.3, 20)}, 1000, 10), 0);
  EXPECT_EQ(whole.size(), 20u);
  for (const auto& [window, times] : whole) EXPECT_EQ(times, 1) << window;
}

TEST_F(Validation, ScoresOfEachSetAtLeastOneSample) {
  const ValidationSample sample({source("a", 1, 9), source("b", 1e6, 20), source("c", 1, 8)}, 1,
                                10);
  for (size_t set = 0; set < 3; ++set) EXPECT_EQ(sample.samples(set), 1);
}

TEST_F(Validation, ASetGivenTwiceCountsOnce) {
  const auto a = source("a", 1, 25);
  const ValidationSample sample({a, source("b", 2, 24), a}, 8, 10);
  ASSERT_EQ(sample.sets(), 2u);
  EXPECT_EQ(sample.samples(0), 4);
  EXPECT_EQ(windows(sample, 0).size(), 4u);
}

TEST_F(Validation, NamesTellSetsApart) {
  const ValidationSample sample(
      {source("x/text", 1, 9), source("y/text", 1, 8), source("z/code", 1, 7)}, 8, 10);
  std::vector<std::string> names;
  for (size_t set = 0; set < 3; ++set) names.push_back(sample.name(set));
  EXPECT_THAT(names, ElementsAre("code", "x/text", "y/text"));
}

TEST_F(Validation, RefusesASampleOfNothing) {
  EXPECT_THAT(test::message_of([] { ValidationSample({}, 8, 10); }), HasSubstr("no set"));
  const ValidationSample sample({source("a", 1, 9)}, 8, 10);
  std::vector<int32_t> room(10);
  EXPECT_THROW(sample.read(0, 8, room, room), Error);
  EXPECT_THROW(sample.read(0, -1, room, room), Error);
}

}  // namespace
}  // namespace switchyard
