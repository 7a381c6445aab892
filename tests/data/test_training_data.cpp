#include "data/training_data.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <set>

#include "tests/data/reference_set.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {
namespace {

using test::message_of;
using test::write_counting_set;
using testing::AllOf;
using testing::HasSubstr;

struct Sample {
  std::vector<int32_t> tokens;
  std::vector<int32_t> targets;
  friend bool operator==(const Sample&, const Sample&) = default;
};

class Training : public testing::Test {
 protected:
  Training() {
    write_counting_set(prefix("a"), 1003);
    write_counting_set(prefix("b"), 505, 200);
  }
  std::string prefix(const std::string& name) const { return (folder_.path() / name).string(); }
  DataStage stage(int64_t first, const std::vector<std::string>& names) const {
    DataStage made{first, {}};
    for (const auto& name : names) made.sources.push_back({prefix(name), 1.0, ""});
    return made;
  }
  static Sample read(const TrainingData& data, int64_t sample, size_t length = 10) {
    Sample got{std::vector<int32_t>(length), std::vector<int32_t>(length)};
    data.read(sample, got.tokens, got.targets);
    return got;
  }
  test::TemporaryFolder folder_;
};

std::vector<int32_t> counting(int64_t first, size_t length, int64_t modulus) {
  std::vector<int32_t> tokens;
  for (size_t i = 0; i < length; ++i) {
    tokens.push_back(static_cast<int32_t>((first + static_cast<int64_t>(i)) % modulus));
  }
  return tokens;
}

TEST_F(Training, ReadsTheWindowThatTheOrderNames) {
  const TrainingData data({stage(0, {"a", "b"})}, 10, 42, {}, 0);
  const SampleOrder order(42, 0, {1, 1}, {100, 50});
  for (int64_t sample = 0; sample < 500; ++sample) {
    const SamplePlace place = order.at(sample);
    const int64_t modulus = place.set == 0 ? 251 : 200;
    const Sample got = read(data, sample);
    EXPECT_EQ(got.tokens, counting(place.window * 10, 10, modulus));
    EXPECT_EQ(got.targets, counting(place.window * 10 + 1, 10, modulus));
  }
}

TEST_F(Training, ASeedHoldsFromItsSampleOn) {
  Seeds seeds(42);
  seeds.changes.push_back({30, 43});  // within the first stage
  seeds.changes.push_back({64, 44});  // where the second begins
  const TrainingData data({stage(0, {"a"}), stage(64, {"b"})}, 10, seeds, {}, 0);
  const SampleOrder first(seeds.within(0, 64), 0, {1}, {100}), second(44, 1, {1}, {50});
  std::set<int64_t> read;
  for (int64_t sample = 0; sample < 64; ++sample) {
    EXPECT_EQ(data.place(sample).second.window, first.at(sample).window);
    read.insert(data.place(sample).second.window);
    EXPECT_EQ(data.place(64 + sample).second.window, second.at(sample).window);
  }
  EXPECT_EQ(read.size(), 64u);
}

TEST_F(Training, SkipsMoveWhatIsReadBehindThem) {
  const TrainingData all({stage(0, {"a", "b"})}, 10, 42, {}, 0);
  auto once = stage(0, {"a", "b"});
  once.skips = {{20, 8}};
  auto twice = once;
  twice.skips.push_back({25, 3});
  const TrainingData without({once}, 10, 42, {}, 0), less({twice}, 10, 42, {}, 0);
  for (int64_t sample = 0; sample < 60; ++sample) {
    const int64_t moved = sample < 20 ? sample : sample + 8;
    EXPECT_EQ(read(without, sample), read(all, moved));
    EXPECT_EQ(read(less, sample), read(all, sample < 25 ? moved : moved + 3));
  }
}

TEST_F(Training, ASeedBehindASkipPermutesWhatIsLeft) {
  auto skipping = stage(0, {"a"});  // 100 windows
  skipping.skips = {{20, 8}};
  Seeds seeds(42);
  seeds.changes.push_back({30, 7});
  const TrainingData before({skipping}, 10, 42, {}, 0), after({skipping}, 10, seeds, {}, 0);
  std::set<int64_t> seen;
  for (int64_t sample = 0; sample < 92; ++sample) {
    if (sample < 30) {
      EXPECT_EQ(read(after, sample), read(before, sample));
    }
    seen.insert(after.place(sample).second.window);
  }
  EXPECT_EQ(seen.size(), 92u);  // none twice
  for (int64_t sample = 20; sample < 28; ++sample) {
    EXPECT_FALSE(seen.contains(SampleOrder(42, 0, {1}, {100}).at(sample).window));
  }
}

TEST_F(Training, AStageBeginsAtItsFirstSample) {
  const TrainingData data({stage(0, {"a"}), stage(64, {"b"}), stage(100, {"a", "b"})}, 10, 42, {},
                          0);
  for (const auto& [sample, expected, first] : {std::tuple<int64_t, int, int64_t>{0, 0, 0},
                                                {63, 0, 0},
                                                {64, 1, 64},
                                                {99, 1, 64},
                                                {100, 2, 100},
                                                {5000, 2, 100}}) {
    const auto [stage_number, place] = data.place(sample);
    EXPECT_EQ(stage_number, expected);
    const auto windows = expected == 2
                             ? std::vector<int64_t>{100, 50}
                             : std::vector<int64_t>{expected == 0 ? int64_t{100} : int64_t{50}};
    const SampleOrder order(42, expected, std::vector<double>(windows.size(), 1.0), windows);
    EXPECT_EQ(place.window, order.at(sample - first).window);
    EXPECT_EQ(place.set, order.at(sample - first).set);
  }
}

// A branch given the data that its parent is later extended with reads the same samples.
TEST_F(Training, AppendedStagesChangeNothingBefore) {
  const TrainingData before({stage(0, {"a"})}, 10, 42, {}, 0);
  const TrainingData after({stage(0, {"a"}), stage(50, {"b"})}, 10, 42, {}, 0);
  for (int64_t sample = 0; sample < 50; ++sample)
    EXPECT_EQ(read(before, sample), read(after, sample));
}

TEST_F(Training, StagesThatArePastAreNotOpened) {
  const std::vector stages = {stage(0, {"none"}), stage(50, {"a"}), stage(60, {"b"})};
  const TrainingData data(stages, 10, 42, {}, 0, 55);
  EXPECT_EQ(data.describe().size(), 4u);
  EXPECT_EQ(data.stages().size(), 3u);
  const TrainingData whole({stage(0, {"a"}), stage(50, {"a"}), stage(60, {"b"})}, 10, 42, {}, 0);
  for (int64_t sample = 50; sample < 80; ++sample)
    EXPECT_EQ(read(data, sample), read(whole, sample));
  EXPECT_THAT(message_of([&] { read(data, 49); }), HasSubstr("sample 49"));
  EXPECT_NO_THROW(TrainingData(stages, 10, 42, {}, 0, 50));
  EXPECT_THAT(message_of([&] { TrainingData(stages, 10, 42, {}, 0, 49); }), HasSubstr("none.idx"));
}

TEST_F(Training, StagesBehindTheEndAreNotOpened) {
  const std::vector stages = {stage(0, {"a"}), stage(50, {"none"})};
  const TrainingData data(stages, 10, 42, {}, 0, 40, 50);
  EXPECT_EQ(data.stages().size(), 2u);
  EXPECT_EQ(read(data, 49), read(TrainingData({stage(0, {"a"})}, 10, 42, {}, 0), 49));
  EXPECT_THAT(message_of([&] { read(data, 50); }), HasSubstr("sample 50"));
  EXPECT_THAT(message_of([&] { TrainingData(stages, 10, 42, {}, 0, 40, 51); }),
              HasSubstr("none.idx"));
  EXPECT_TRUE(TrainingData(stages, 10, 42, {}, 0, 50, 50).describe().empty());
}

TEST_F(Training, ValidationIsTheSecondPart) {
  DataStage blend = stage(0, {"a", "b"});
  blend.sources[1].weight = 3;
  const TrainingData data({blend}, 10, 42, Split::parse("90,10"), 0);
  const auto sources = data.validation_sources(7);
  ASSERT_EQ(sources.size(), 2u);
  EXPECT_EQ(sources[0].begin, 90);
  EXPECT_EQ(sources[0].end, 100);
  EXPECT_EQ(sources[1].begin, 45);
  EXPECT_EQ(sources[1].end, 50);
  EXPECT_EQ(sources[1].weight, 3);
  EXPECT_EQ(sources[1].set->prefix(), prefix("b"));
  for (int64_t sample = 0; sample < 3000; ++sample) {
    const SamplePlace place = data.place(sample).second;
    EXPECT_LT(place.window, place.set == 0 ? 90 : 45);
  }
  EXPECT_TRUE(TrainingData({stage(0, {"a"})}, 10, 42, {}, 0).validation_sources(0).empty());
  const TrainingData none({stage(0, {"a", "b"})}, 125, 42, Split::parse("90,10"), 0);
  EXPECT_EQ(none.validation_sources(0).size(), 1u);  // 4 windows of b are all for training
}

TEST_F(Training, DescribesEverySet) {
  const TrainingData data({stage(0, {"a"}), stage(9, {"b"})}, 10, 42, Split::parse("90,10"), 0);
  const auto lines = data.describe();
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_THAT(lines[0],
              AllOf(HasSubstr("stage 0 from sample 0"), HasSubstr("windows of 10 tokens")));
  EXPECT_THAT(lines[1], AllOf(HasSubstr("100% " + prefix("a")), HasSubstr("90 + 10 windows"),
                              HasSubstr("1003 tokens, 2 left out")));
  EXPECT_THAT(lines[2], HasSubstr("stage 1 from sample 9"));
  EXPECT_THAT(lines[3], HasSubstr("505 tokens, 4 left out"));
  const size_t room = 100 - std::string_view("[12:34:56] ").size();
  for (const auto& line : lines) EXPECT_LE(line.size(), room + prefix("a").size()) << line;
}

TEST_F(Training, FillsInAndChecksIdentities) {
  const TrainingData data({stage(0, {"a"})}, 10, 42, {}, 0);
  auto stages = data.stages();
  const std::string identity = TokenDataset::open(prefix("a")).identity();
  EXPECT_EQ(stages[0].sources[0].identity, identity);
  EXPECT_NO_THROW(TrainingData(stages, 10, 42, {}, 0));
  write_counting_set(prefix("a"), 1004);
  EXPECT_THAT(message_of([&] { TrainingData(stages, 10, 42, {}, 0); }),
              AllOf(HasSubstr(prefix("a")), HasSubstr(identity),
                    HasSubstr(TokenDataset::open(prefix("a")).identity())));
}

TEST_F(Training, TakesIdentitiesAsGivenWhereOnlyHeadersAreRead) {
  auto stages = TrainingData({stage(0, {"a"})}, 10, 42, {}, 0).stages();
  stages[0].sources[0].identity = "checked by another";
  const TrainingData data(stages, 10, 42, {}, 0, 0, 50, SetCheck::header);
  EXPECT_EQ(data.stages()[0].sources[0].identity, "checked by another");
  const TrainingData halved(stages, 10, 42, Split::parse("1,1"), 0, 0, 50, SetCheck::header);
  EXPECT_EQ(halved.validation_sources(0).front().set->identity(), "checked by another");
  EXPECT_EQ(read(data, 7), read(TrainingData({stage(0, {"a"})}, 10, 42, {}, 0), 7));
}

TEST_F(Training, TheVocabularyIsTheLargest) {
  test::ReferenceSet(8, {std::vector<int64_t>(50, 299)}).write(prefix("bare"));
  EXPECT_EQ(TrainingData({stage(0, {"a"})}, 10, 42, {}, 0).info().vocabulary, 257);
  EXPECT_EQ(TrainingData({stage(0, {"a", "bare"})}, 10, 42, {}, 300).info().vocabulary, 300);
  EXPECT_EQ(TrainingData({stage(0, {"a", "bare"})}, 10, 42, {}, 300).info().tokenizer, "byte");
  EXPECT_THAT(message_of([&] { TrainingData({stage(0, {"a"})}, 10, 42, {}, 256); }),
              AllOf(HasSubstr("a vocabulary of 256"), HasSubstr("needs at least 257")));
  EXPECT_THAT(message_of([&] {
                TrainingData({stage(0, {"a", "bare"})}, 10, 42, {}, 0);
              }),
              AllOf(HasSubstr(prefix("bare")), HasSubstr("--vocab-size")));
}

TEST_F(Training, NamesTheTokenBeyondTheVocabulary) {
  test::ReferenceSet(8, {std::vector<int64_t>(50, 299)}).write(prefix("bare"));
  const auto names_it = AllOf(HasSubstr("bare.bin"), HasSubstr("299"));
  auto stages = std::vector<DataStage>{stage(0, {"bare"})};
  EXPECT_THAT(message_of([&] { TrainingData(stages, 10, 42, {}, 299); }), names_it);
  // Known by its identity, a set is not read through again.
  stages = TrainingData(stages, 10, 42, {}, 300).stages();
  const TrainingData data(stages, 10, 42, {}, 299);
  EXPECT_THAT(message_of([&] { read(data, 0); }), names_it);
}

TEST_F(Training, RefusesSetsThatDoNotGoTogether) {
  test::ReferenceSet other(8, {std::vector<int64_t>(50, 1)});
  other.json = R"({"tokenizer": "gpt2", "vocabulary_size": 50257})";
  other.write(prefix("other"));
  for (const auto& stages :
       {std::vector{stage(0, {"a", "other"})}, std::vector{stage(0, {"a"}), stage(5, {"other"})}}) {
    EXPECT_THAT(message_of([&] { TrainingData(stages, 10, 42, {}, 0); }),
                AllOf(HasSubstr("'byte'"), HasSubstr("'gpt2'"), HasSubstr(prefix("a")),
                      HasSubstr(prefix("other"))));
  }
}

TEST_F(Training, RefusesStagesAndSetsWithoutSamples) {
  const auto make = [&](std::vector<DataStage> stages, int64_t length, const char* split) {
    return message_of([&] { TrainingData(stages, length, 42, Split::parse(split), 0); });
  };
  EXPECT_THAT(make({}, 10, "1"), HasSubstr("no data"));
  EXPECT_THAT(make({stage(0, {})}, 10, "1"), HasSubstr("names no set"));
  EXPECT_THAT(make({stage(1, {"a"})}, 10, "1"), HasSubstr("begins with sample 1"));
  EXPECT_THAT(make({stage(0, {"a"}), stage(0, {"b"})}, 10, "1"), HasSubstr("stage 1"));
  EXPECT_THAT(make({stage(0, {"a"})}, 1003, "1"), HasSubstr("1003 tokens, 0 windows"));
  EXPECT_THAT(make({stage(0, {"a"})}, 1000, "1,99"), HasSubstr("none of them is for training"));
  EXPECT_THAT(make({stage(0, {"a"})}, 0, "1"), HasSubstr("a sequence length of 0"));
  EXPECT_EQ(read(TrainingData({stage(0, {"a"})}, 1002, 42, {}, 0), 3, 1002).tokens,
            counting(0, 1002, 251));
}

TEST_F(Training, NotesANewEpochOnceAndOnlyWhenAsked) {
  write_counting_set(prefix("long"), 70'001);  // 70,000 windows: epoch 1 begins in block 1
  TrainingData data({stage(0, {"long"})}, 1, 42, {}, 0);
  const auto noted = [&](int64_t sample) {
    read(data, sample, 1);
    return data.take_epochs();
  };
  const int64_t second = 80'000;
  const auto first_of_second_epoch = [&] {
    int64_t sample = blend_block;
    while (data.place(sample).second.epoch == 0) ++sample;
    return sample;
  }();
  EXPECT_TRUE(noted(first_of_second_epoch).empty());
  data.note_epochs(true);
  EXPECT_TRUE(noted(0).empty());
  const auto begun = noted(first_of_second_epoch);
  ASSERT_EQ(begun.size(), 1U);
  EXPECT_THAT(begun[0].prefix, HasSubstr("long"));
  EXPECT_EQ(begun[0].stage, 0U);
  EXPECT_EQ(begun[0].windows, 70'000);
  EXPECT_EQ(begun[0].first, 1);
  EXPECT_EQ(begun[0].last, 1);
  EXPECT_EQ(begun[0].first_sample, first_of_second_epoch);
  EXPECT_TRUE(noted(first_of_second_epoch).empty());
  EXPECT_TRUE(noted(second).empty());
}

// However many begin between two looks, they are one note, and none is left out.
TEST_F(Training, NotesManyEpochsAsOne) {
  write_counting_set(prefix("short"), 5);  // 4 windows
  TrainingData data({stage(0, {"short"})}, 1, 42, {}, 0);
  data.note_epochs(true);
  for (int64_t sample = 0; sample < 40; ++sample) read(data, sample, 1);
  const auto begun = data.take_epochs();
  ASSERT_EQ(begun.size(), 1U);
  EXPECT_EQ(begun[0].first, 1);
  EXPECT_EQ(begun[0].last, 9);
  EXPECT_EQ(begun[0].first_sample, 4);
  EXPECT_EQ(begun[0].last_sample, 36);
  read(data, 48, 1);  // others of the epochs between are another rank's to read
  EXPECT_EQ(data.take_epochs().at(0).first, 10);
  TrainingData resumed({stage(0, {"short"})}, 1, 42, {}, 0);
  resumed.note_epochs(true);
  read(resumed, 23, 1);
  EXPECT_EQ(resumed.take_epochs().at(0).first, 5);
}

TEST_F(Training, RefusesRoomOfAnotherLength) {
  const TrainingData data({stage(0, {"a"})}, 10, 42, {}, 0);
  EXPECT_THROW(read(data, 0, 9), Error);
  EXPECT_THROW(read(data, -1), Error);
}

}  // namespace
}  // namespace switchyard
