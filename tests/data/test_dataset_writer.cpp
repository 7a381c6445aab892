#include "data/dataset.h"
#include "data/dataset_writer.h"

#include <gmock/gmock.h>

#include <filesystem>

#include "tests/data/reference_set.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {
namespace {

class Writer : public testing::Test {
 protected:
  std::string prefix() const { return (folder_.path() / "set").string(); }
  std::vector<int32_t> tokens(int64_t vocabulary = 0) const {
    const TokenDataset set = TokenDataset::open(prefix(), vocabulary);
    std::vector<int32_t> all(static_cast<size_t>(set.tokens()));
    set.read(0, all);
    return all;
  }
  test::TemporaryFolder folder_;
};

TEST_F(Writer, TakesTwoBytesWhereMegatronDoes) {
  for (const auto& [vocabulary, type] : {std::pair{65'499, 8}, {65'500, 4}}) {
    DatasetWriter writer(prefix(), vocabulary);
    writer.append(std::vector<int32_t>{1, 65'498});
    writer.finish({});
    EXPECT_EQ(test::read_file(prefix() + ".idx")[17], type);
    EXPECT_EQ(tokens(), (std::vector<int32_t>{1, 65'498}));
  }
}

// Lengths are i32: what is longer becomes several sequences of the same document.
TEST_F(Writer, CutsLongDocumentsIntoSequences) {
  const std::vector<int32_t> count{0, 1, 2, 3, 4, 5, 6};
  DatasetWriter writer(prefix(), 100, 3);
  writer.append(count);
  writer.end_document();
  writer.append(std::vector<int32_t>{7, 8, 9});  // exactly full
  writer.end_document();
  writer.end_document();
  writer.append(std::vector<int32_t>{10});
  writer.finish({});

  test::ReferenceSet expected(8, {{0, 1, 2}, {3, 4, 5}, {6}, {7, 8, 9}, {10}});
  expected.documents = {0, 3, 4, 5};
  EXPECT_EQ(test::read_file(prefix() + ".idx"), expected.index());
  EXPECT_EQ(test::read_file(prefix() + ".bin"), expected.bin);
}

TEST_F(Writer, WritesManySequences) {
  DatasetWriter writer(prefix(), 300);
  std::vector<std::vector<int64_t>> texts;
  for (int32_t i = 0; i < 150'000; ++i) {
    writer.append(std::vector<int32_t>{i % 300, 1});
    writer.end_document();
    texts.push_back({i % 300, 1});
  }
  writer.finish({});
  EXPECT_EQ(test::read_file(prefix() + ".idx"), test::ReferenceSet(8, texts).index());
}

TEST_F(Writer, RefusesTokensBeyondTheVocabulary) {
  DatasetWriter writer(prefix(), 300);
  EXPECT_THROW(writer.append(std::vector<int32_t>{1, 300}), Error);
  EXPECT_THROW(writer.append(std::vector<int32_t>{1, -1}), Error);
}

TEST_F(Writer, LeavesNothingWhenNotFinished) {
  {
    DatasetWriter writer(prefix(), 300);
    writer.append(std::vector<int32_t>{1});
    EXPECT_FALSE(std::filesystem::is_empty(folder_.path()));
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
}

}  // namespace
}  // namespace switchyard
