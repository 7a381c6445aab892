#include <gmock/gmock.h>

#include "data/training_data.h"
#include "tests/data/reference_set.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {
namespace {

using test::message_of;
using test::write_counting_set;
using testing::HasSubstr;

class Evaluation : public testing::Test {
 protected:
  std::string prefix(const std::string& name) const { return (folder_.path() / name).string(); }
  test::TemporaryFolder folder_;
};

// Strings the scored targets of all windows together; checks each against the token before it.
std::vector<int32_t> scored(const EvaluationData& data, size_t length) {
  std::vector<int32_t> all;
  std::vector<int32_t> tokens(length);
  std::vector<int32_t> targets(length);
  for (int64_t window = 0; window < data.windows(); ++window) {
    data.read(window, tokens, targets);
    for (size_t i = 0; i < length; ++i) {
      if (targets[i] < 0) {
        EXPECT_EQ(tokens[i], 0);
        EXPECT_EQ(targets[i], -1);
      } else {
        EXPECT_EQ(targets[i], (tokens[i] + 1) % 251);
        all.push_back(targets[i]);
      }
    }
  }
  return all;
}

TEST_F(Evaluation, ScoresEveryTokenButTheFirstOfEachSetOnce) {
  for (const int64_t count : {2, 3, 10, 11, 12, 20, 21, 22, 1003}) {
    for (const size_t length : {1, 2, 10, 64}) {
      SCOPED_TRACE(fmt::format("{} tokens, windows of {}", count, length));
      write_counting_set(prefix("a"), count);
      write_counting_set(prefix("b"), 7);
      const EvaluationData data({prefix("a"), prefix("b")}, static_cast<int64_t>(length), 0);
      std::vector<int32_t> expected;
      for (int64_t i = 1; i < count; ++i) expected.push_back(static_cast<int32_t>(i % 251));
      for (int32_t i = 1; i < 7; ++i) expected.push_back(i);
      EXPECT_EQ(scored(data, length), expected);
      const auto span = static_cast<int64_t>(length);
      EXPECT_EQ(data.windows(), (count - 2 + span) / span + (5 + span) / span);
      EXPECT_EQ(data.text_bytes(), count + 7);
    }
  }
}

TEST_F(Evaluation, SaysNoBytesWhenOneSetDoesNot) {
  write_counting_set(prefix("a"), 50);
  test::ReferenceSet(8, {{1, 2, 3}}).write(prefix("bare"));
  const EvaluationData data({prefix("a"), prefix("bare")}, 10, 257);
  EXPECT_EQ(data.text_bytes(), 0);
  EXPECT_EQ(data.info().tokenizer, "byte");
}

// Neither the index nor, where the largest token is not known, the tokens are read again.
TEST_F(Evaluation, SetsThatAnotherProcessChecksAreOpenedByTheirHeaders) {
  test::ReferenceSet set(8, {{1, 2, 3, 4}, {5, 299}});
  set.write(prefix("a"));
  const EvaluationData whole({prefix("a"), prefix("a")}, 4, 300);
  EXPECT_EQ(whole.identities(), std::vector(2, TokenDataset::open(prefix("a"), 300).identity()));
  set.lengths.front() += 1;
  set.write(prefix("a"));
  EXPECT_THROW(EvaluationData({prefix("a")}, 4, 300), Error);
  const EvaluationData header({prefix("a"), prefix("a")}, 4, 299, {"one", "another"});
  EXPECT_THAT(header.identities(), testing::ElementsAre("one", "another"));
  EXPECT_EQ(header.source(1, 1.0).set->identity(), "another");
  EXPECT_EQ(header.windows(), whole.windows());
  EXPECT_THAT(message_of([&] {
                EvaluationData({prefix("a")}, 4, 300, {"one", "another"});
              }),
              HasSubstr("2 identities were given for 1 sets"));
}

TEST_F(Evaluation, RefusesWhatItCannotScore) {
  write_counting_set(prefix("a"), 50);
  test::ReferenceSet(8, {{1}}).write(prefix("one"));
  EXPECT_THAT(message_of([&] { EvaluationData({prefix("one")}, 10, 257); }), HasSubstr("one"));
  EXPECT_THAT(message_of([&] { EvaluationData({}, 10, 257); }), HasSubstr("no set to evaluate"));
  EXPECT_THAT(message_of([&] { EvaluationData({prefix("a")}, 0, 257); }), HasSubstr("length of 0"));
  EXPECT_THAT(message_of([&] { EvaluationData({prefix("a")}, 10, 128); }), HasSubstr("128"));
  const EvaluationData data({prefix("a")}, 10, 0);
  std::vector<int32_t> room(10);
  EXPECT_THROW(data.read(5, room, room), Error);
  EXPECT_THROW(data.read(-1, room, room), Error);
  std::vector<int32_t> little(9);
  EXPECT_THROW(data.read(0, little, room), Error);
}

}  // namespace
}  // namespace switchyard
