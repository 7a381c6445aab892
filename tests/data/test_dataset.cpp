#include "data/dataset.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <numeric>

#include "tests/data/reference_set.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {
namespace {

using test::message_of;
using test::ReferenceSet;
using testing::AllOf;
using testing::HasSubstr;

class Dataset : public testing::Test {
 protected:
  std::string prefix() const { return (folder_.path() / "set").string(); }
  std::string error(const ReferenceSet& set, int64_t vocabulary = 1000) const {
    set.write(prefix());
    return message_of([&] { TokenDataset::open(prefix(), vocabulary); });
  }
  test::TemporaryFolder folder_;
};

const std::vector<std::vector<int64_t>> texts{{5, 6, 7}, {}, {100}, {8, 9}};

std::vector<int32_t> all_tokens(const TokenDataset& set) {
  std::vector<int32_t> tokens(static_cast<size_t>(set.tokens()));
  set.read(0, tokens);
  return tokens;
}

TEST_F(Dataset, ReadsEveryTokenType) {
  for (const int type : {1, 2, 3, 4, 5, 8}) {
    SCOPED_TRACE(type);
    ReferenceSet(static_cast<uint8_t>(type), texts).write(prefix());
    const TokenDataset set = TokenDataset::open(prefix(), 101);
    EXPECT_EQ(set.tokens(), 6);
    EXPECT_EQ(set.info().vocabulary, 101);
    EXPECT_EQ(all_tokens(set), (std::vector<int32_t>{5, 6, 7, 100, 8, 9}));
    std::vector<int32_t> middle(3);
    set.read(2, middle);
    EXPECT_EQ(middle, (std::vector<int32_t>{7, 100, 8}));
  }
}

TEST_F(Dataset, ReadsTheLargestTokensOfEachType) {
  const std::vector<std::pair<int, int64_t>> largest{{1, 255},        {2, 127},        {3, 32767},
                                                     {4, 2147483646}, {5, 2147483646}, {8, 65535}};
  for (const auto& [type, token] : largest) {
    SCOPED_TRACE(type);
    ReferenceSet(static_cast<uint8_t>(type), {{0, token}}).write(prefix());
    EXPECT_EQ(all_tokens(TokenDataset::open(prefix(), token + 1)).back(), token);
  }
}

TEST_F(Dataset, RefusesTokensBeyondTheVocabularyWhenRead) {
  for (const int type : {1, 2, 3, 4, 5, 8}) {
    SCOPED_TRACE(type);
    ReferenceSet(static_cast<uint8_t>(type), texts).write(prefix());
    const TokenDataset set = TokenDataset::open(prefix(), 100);
    EXPECT_THAT(message_of([&] { all_tokens(set); }),
                AllOf(HasSubstr("set.bin"), HasSubstr("position 3 is 100"), HasSubstr("0 to 99")));
    std::vector<int32_t> fine(3);
    EXPECT_NO_THROW(set.read(0, fine));
  }
}

TEST_F(Dataset, RefusesNegativeTokensWhenRead) {
  for (const int type : {2, 3, 4, 5}) {
    SCOPED_TRACE(type);
    ReferenceSet(static_cast<uint8_t>(type), {{1, 2}, {-3}}).write(prefix());
    const TokenDataset set = TokenDataset::open(prefix(), 1000);
    EXPECT_THAT(message_of([&] { all_tokens(set); }), HasSubstr("position 2 is -3"));
  }
}

TEST_F(Dataset, RefusesTokensThatOnlyFitAfterWrappingAround) {
  ReferenceSet(5, {{1, (int64_t{1} << 32) + 7}}).write(prefix());
  const TokenDataset set = TokenDataset::open(prefix(), 1000);
  EXPECT_THAT(message_of([&] { all_tokens(set); }), HasSubstr("position 1 is 4294967303"));
}

TEST_F(Dataset, RefusesReadsOutsideOfTheSet) {
  ReferenceSet(4, texts).write(prefix());
  const TokenDataset set = TokenDataset::open(prefix(), 1000);
  std::vector<int32_t> out(3);
  EXPECT_THAT(message_of([&] { set.read(4, out); }), HasSubstr("tokens 4 to 7"));
  EXPECT_THROW(set.read(-1, out), Error);
  EXPECT_NO_THROW(set.read(3, out));
}

TEST_F(Dataset, FindsEveryDamageOfTheIndex) {
  const std::vector<std::pair<std::function<void(ReferenceSet&)>, std::string>> damages{
      {[](auto& s) { s.magic[0] = 'N'; }, "does not begin with MMIDIDX"},
      {[](auto& s) { s.version = 2; }, "has version 2; version 1"},
      {[](auto& s) { s.type = 6; }, "holds f64 elements"},
      {[](auto& s) { s.type = 7; }, "holds f32 elements"},
      {[](auto& s) { s.type = 0; }, "unknown type 0"},
      {[](auto& s) { s.type = 9; }, "unknown type 9"},
      {[](auto& s) { s.type = 8; },
       "sequence 1 is at byte 12; behind the ones before it, it begins at byte 6"},
      {[](auto& s) { s.header_sequences = 5; }, "does not fit its header of 5 sequences"},
      {[](auto& s) { s.header_sequences = int64_t{1} << 60; }, "does not fit its header"},
      {[](auto& s) { s.header_documents = int64_t{1} << 61; }, "does not fit its header"},
      {[](auto& s) { s.lengths[1] = -1; }, "sequence 1 has the length -1"},
      {[](auto& s) { s.lengths[0] = 4; }, "sequence 1 is at byte 12"},
      {[](auto& s) { s.offsets[0] = 4; }, "sequence 0 is at byte 4"},
      {[](auto& s) { s.offsets[3] -= 4; }, "sequence 3 is at byte 12"},
      {[](auto& s) { s.documents[0] = 1; }, "entry 0 of the document index is 1"},
      {[](auto& s) { s.documents[2] = 0; }, "entry 2 of the document index is 0"},
      {[](auto& s) { s.documents[4] = 3; }, "the document index ends at 3"},
      {[](auto& s) { s.documents[4] = 9; }, "entry 4 of the document index is 9"},
      {[](auto& s) { s.documents.clear(); }, "empty document index"},
      {[](auto& s) {
         s.modes = {0, 0, 1, 0};
       },
       "sequence 2 has mode 1; only text"},
      {[](auto& s) {
         s.modes = {0, 0};
       },
       "does not fit its header"},
      {[](auto& s) { s.lengths.back() = 3; }, "set.bin has 24 bytes"},
      {[](auto& s) { s.bin.pop_back(); }, "set.bin has 23 bytes"},
      {[](auto& s) { s.bin += "1234"; }, "set.bin has 28 bytes"},
      {[](auto& s) { s.bin.clear(); }, "set.bin has 0 bytes"}};
  for (const auto& [spoil, expected] : damages) {
    ReferenceSet set(4, texts);
    spoil(set);
    EXPECT_THAT(error(set), AllOf(HasSubstr(prefix()), HasSubstr(expected)));
  }
}

TEST_F(Dataset, RefusesAnIndexCutAnywhere) {
  const ReferenceSet set(8, texts);
  set.write(prefix());
  const std::string index = set.index();
  for (size_t size = 0; size < index.size(); ++size) {
    test::write_file(prefix() + ".idx", index.substr(0, size));
    EXPECT_THROW(TokenDataset::open(prefix(), 1000), Error) << size;
  }
}

// Another process of the machine has checked the rest.
TEST_F(Dataset, MayBeOpenedByItsHeaderAlone) {
  ReferenceSet set(8, texts);
  set.write(prefix());
  const TokenDataset whole = TokenDataset::open(prefix(), 1000);
  const TokenDataset header = TokenDataset::open_checked(prefix(), "its own", 1000);
  EXPECT_EQ(all_tokens(header), all_tokens(whole));
  EXPECT_EQ(header.identity(), "its own");
  set.lengths.front() += 1;
  set.write(prefix());
  EXPECT_THROW(TokenDataset::open(prefix(), 1000), Error);
  EXPECT_EQ(all_tokens(TokenDataset::open_checked(prefix(), "its own", 1000)), all_tokens(whole));
  set.bin.pop_back();
  set.write(prefix());
  EXPECT_THROW(TokenDataset::open_checked(prefix(), "its own", 1000), Error);
}

TEST_F(Dataset, ToleratesModesOfTextAlone) {
  ReferenceSet set(8, texts);
  set.modes = {0, 0, 0, 0};
  set.write(prefix());
  EXPECT_EQ(TokenDataset::open(prefix(), 1000).tokens(), 6);
}

TEST_F(Dataset, OpensAnEmptySet) {
  ReferenceSet(8, {}).write(prefix());
  const TokenDataset set = TokenDataset::open(prefix(), 1000);
  EXPECT_EQ(set.tokens(), 0);
}

TEST_F(Dataset, NamesMissingFiles) {
  const auto open = [&] { TokenDataset::open(prefix(), 1000); };
  EXPECT_THAT(message_of(open), HasSubstr("set.idx cannot be opened: No such file"));
  ReferenceSet(8, texts).write(prefix());
  std::filesystem::remove(prefix() + ".bin");
  EXPECT_THAT(message_of(open), HasSubstr("set.bin cannot be opened: No such file"));
  std::filesystem::create_directory(prefix() + ".bin");
  EXPECT_THAT(message_of(open), HasSubstr("set.bin is not a regular file"));
}

TEST_F(Dataset, TakesItsDescriptionFromJson) {
  ReferenceSet set(8, texts);
  set.json = R"({"tokenizer": "byte", "vocabulary_size": 257, "end_of_document": 256,
                 "text_bytes": 5, "largest_token": 100, "tokens": 6, "documents": 4})";
  set.write(prefix());
  const DatasetInfo info = TokenDataset::open(prefix()).info();
  EXPECT_EQ(info.tokenizer, "byte");
  EXPECT_EQ(info.vocabulary, 257);
  EXPECT_EQ(info.end_of_document, 256);
  EXPECT_EQ(info.text_bytes, 5);
  EXPECT_EQ(info.largest_token, 100);
  EXPECT_EQ(TokenDataset::open(prefix(), 300).info().vocabulary, 300);
  EXPECT_THAT(message_of([&] { TokenDataset::open(prefix(), 256); }),
              HasSubstr("a vocabulary of 256 was given"));
}

TEST_F(Dataset, RefusesDescriptionsThatDoNotFit) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"{", "is not valid JSON"},
      {"[]", "is not a JSON object"},
      {R"({"vocabulary_size": "many"})", "vocabulary_size is \"many\""},
      {R"({"vocabulary_size": 0})", "vocabulary_size is 0"},
      {R"({"vocabulary_size": 2.5})", "vocabulary_size is 2.5"},
      {R"({"vocabulary_size": 18446744073709551615})", "a whole number of at least 1"},
      {R"({"vocabulary_size": 3000000000})", "needs at least 3000000000"},
      {R"({"tokenizer": 1})", "a string is needed"},
      {R"({"vocabulary_size": 100, "largest_token": 100})", "largest_token is 100"},
      {R"({"vocabulary_size": 100, "end_of_document": 100})", "end_of_document is 100"},
      {R"({"largest_token": 2000})", "needs at least 2001"},
      {R"({"tokens": 7})", "says 7 tokens"},
      {R"({"documents": 3})", "says 3 documents"}};
  for (const auto& [json, expected] : cases) {
    ReferenceSet set(8, texts);
    set.json = json;
    EXPECT_THAT(error(set), HasSubstr(expected)) << json;
  }
}

TEST_F(Dataset, NeedsAVocabularyFromSomewhere) {
  EXPECT_THAT(error(ReferenceSet(8, texts), 0), HasSubstr("--vocab-size"));
  EXPECT_THAT(error(ReferenceSet(8, texts), -1), HasSubstr("a vocabulary of -1"));
  EXPECT_THAT(error(ReferenceSet(8, texts), int64_t{1} << 31), HasSubstr("2147483648"));
}

TEST_F(Dataset, IdentityFollowsIndexSizeAndTokens) {
  ReferenceSet(8, texts).write(prefix());
  const std::string other = (folder_.path() / "moved").string();
  ReferenceSet(8, texts).write(other);
  const std::string identity = TokenDataset::open(prefix(), 1000).identity();
  EXPECT_EQ(TokenDataset::open(other, 2000).identity(), identity);
  EXPECT_THAT(identity, testing::MatchesRegex("[0-9a-f]{32}-c-[0-9a-f]{16}"));
  ReferenceSet(8, {{5, 6}, {7, 100, 8, 9}}).write(other);
  EXPECT_NE(TokenDataset::open(other, 1000).identity(), identity);
  auto same_lengths = texts;
  same_lengths.back().back() ^= 1;
  ReferenceSet(8, same_lengths).write(other);
  EXPECT_NE(TokenDataset::open(other, 1000).identity(), identity);
}

TEST_F(Dataset, ReadsBeyondFourGigabytes) {
  ReferenceSet set(4, {});
  const int64_t length = int64_t{1} << 29;
  set.documents = {0, 1, 2, 3};
  for (int64_t i = 0; i < 3; ++i) {
    set.lengths.push_back(static_cast<int32_t>(length));
    set.offsets.push_back(4 * length * i);
  }
  set.write(prefix());
  const int64_t last = 3 * length - 1;
  std::filesystem::resize_file(prefix() + ".bin", static_cast<uintmax_t>(12 * length));  // a hole
  const int file = open((prefix() + ".bin").c_str(), O_WRONLY);
  const int32_t token = 77;
  ASSERT_EQ(pwrite(file, &token, 4, 4 * last), 4);
  close(file);
  const TokenDataset opened = TokenDataset::open(prefix(), 100);
  EXPECT_EQ(opened.tokens(), 3 * length);
  std::vector<int32_t> out(3);
  opened.read(last - 2, out);
  EXPECT_EQ(out, (std::vector<int32_t>{0, 0, 77}));
}

TEST(WholeWindows, CountTheTokenBehindTheLast) {
  EXPECT_EQ(whole_windows(0, 4), 0);
  EXPECT_EQ(whole_windows(1, 4), 0);
  EXPECT_EQ(whole_windows(4, 4), 0);
  EXPECT_EQ(whole_windows(5, 4), 1);
  EXPECT_EQ(whole_windows(8, 4), 1);
  EXPECT_EQ(whole_windows(9, 4), 2);
  EXPECT_THROW(whole_windows(9, 0), Error);
}

}  // namespace
}  // namespace switchyard
