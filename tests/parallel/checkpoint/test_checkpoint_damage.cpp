#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "tests/parallel/checkpoint/checkpoint_cases.h"
#include "tests/support/temporary_folder.h"

// What is missing, cut off, exchanged or changed on disk is refused by name, never read.
namespace switchyard {
namespace {

using namespace test;
namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

class CheckpointDamage : public testing::Test {
 protected:
  CheckpointDamage() { save(folder_.path(), 1, tensors_, 4); }

  fs::path step() const { return checkpoint_folder(folder_.path(), 1); }
  fs::path shard(int rank) const {
    return step() / "shards" / ("rank-0000" + std::to_string(rank) + ".h5");
  }
  fs::path master() const { return step() / "checkpoint.h5"; }
  std::string error_of_opening() const {
    return error_of([&] { CheckpointReader reader(step()); });
  }

  TemporaryFolder folder_;
  // Even, so that all shards have one size.
  std::vector<TensorCase> tensors_ = {
      {"/model/w", {64, 32}, DType::f32, Cut::columns_then_flat, {}},
      {"/model/b", {512}, DType::bf16, Cut::columns_then_flat, {}}};
};

TEST_F(CheckpointDamage, AFlippedByteIsFoundByVerifying) {
  const Box part = boxes_of(Cut::columns_then_flat, {64, 32}, 4, 2).front();
  const int64_t position = find_bytes(shard(2), expected_bytes(tensors_[0], part, 1));
  ASSERT_GT(position, 0);
  flip_byte(shard(2), position + 5);
  const CheckpointReader reader(step());
  EXPECT_THAT(error_of([&] { reader.verify(); }),
              AllOf(HasSubstr("rank-00002.h5"), HasSubstr("/model/w"), HasSubstr("checksum")));
  EXPECT_THAT(error_of([&] { reader.verify(2, 4); }), HasSubstr("rank-00002.h5"));
  for (const int other : {0, 1, 3}) EXPECT_EQ(error_of([&] { reader.verify(other, 4); }), "");
  EXPECT_THAT(error_of([&] { reader.verify(4, 4); }), HasSubstr("part 4 of 4"));
}

// Whoever reads a piece whole, wherever its bytes go, need not read it again to verify it.
TEST_F(CheckpointDamage, PiecesReadWholeAreCheckedOnTheWay) {
  const CheckpointReader reader(step());
  std::vector<int32_t> all;
  int64_t bytes = 0;
  for (int rank = 0; rank < 4; ++rank) {
    LocalPieces own(tensors_, 4, rank);
    const auto checked = reader.read_and_check(own.sharded(), [&](int64_t part) { bytes += part; });
    EXPECT_EQ(own.first_difference(1), "");
    EXPECT_EQ(std::ranges::count(checked, 1), 2);
    all.resize(checked.size());
    for (size_t i = 0; i < all.size(); ++i) all[i] = std::max(all[i], checked[i]);
  }
  EXPECT_EQ(std::ranges::count(all, 1), 8);
  EXPECT_EQ(bytes, 64 * 32 * 4 + 512 * 2);
  LocalPieces whole(tensors_, 1, 0);
  EXPECT_EQ(reader.read_and_check(whole.sharded()), all);
  LocalPieces eighth(tensors_, 8, 0);
  EXPECT_EQ(std::ranges::count(reader.read_and_check(eighth.sharded()), 1), 0);

  const Box part = boxes_of(Cut::columns_then_flat, {64, 32}, 4, 2).front();
  flip_byte(shard(2), find_bytes(shard(2), expected_bytes(tensors_[0], part, 1)) + 5);
  EXPECT_EQ(error_of([&] { reader.verify_rest(all); }), "");
  EXPECT_THAT(error_of([&] { reader.verify_rest({}); }), HasSubstr("rank-00002.h5"));
  LocalPieces third(tensors_, 4, 2);
  for (LocalPieces* pieces : {&third, &whole}) {
    EXPECT_THAT(error_of([&] { reader.read_and_check(pieces->sharded()); }),
                AllOf(HasSubstr("rank-00002.h5"), HasSubstr("/model/w"), HasSubstr("checksum")));
  }
}

// What several ranks read parts of is read whole by one of them, which so finds a flipped byte that
// it may not even want.
TEST_F(CheckpointDamage, PiecesThatRanksShareAreCheckedByOneOfThem) {
  constexpr int ranks = 4;
  std::vector<TensorCase> saved = {{"/model/short", {2048, 640}, DType::f32, Cut::rows, {}},
                                   {"/model/long", {160, 12'288}, DType::f32, Cut::rows, {}},
                                   {"/model/flat", {300, 70}, DType::bf16, Cut::flat, {}}};
  save(folder_.path(), 2, saved, 3);
  const fs::path step = checkpoint_folder(folder_.path(), 2);
  const auto read_parts = [&](Cut cut) {
    std::vector<TensorCase> wanted = saved;
    for (TensorCase& tensor : wanted) tensor.cut = cut;
    std::vector<int32_t> times;
    std::string problem, different;
    for (int rank = 0; rank < ranks; ++rank) {
      const CheckpointReader reader(step, rank, ranks);
      LocalPieces own(wanted, ranks, rank);
      std::vector<int32_t> checked;
      problem += error_of([&] { checked = reader.read_and_check(own.sharded()); });
      times.resize(std::max(times.size(), checked.size()));
      for (size_t i = 0; i < checked.size(); ++i) times[i] += checked[i];
      different += own.first_difference(2);
    }
    EXPECT_TRUE(different.empty() || !problem.empty()) << different;
    return std::pair(times, problem);
  };
  for (const Cut cut : {Cut::columns, Cut::columns_then_flat, Cut::flat}) {
    const auto [times, problem] = read_parts(cut);
    EXPECT_EQ(problem, "");
    for (const int32_t of_piece : times) EXPECT_EQ(of_piece, 1);
  }
  const fs::path damaged = step / "shards" / "rank-00001.h5";
  for (const TensorCase& tensor : saved) {
    const Box part = boxes_of(tensor.cut, tensor.shape, 3, 1).front();
    const auto bytes = expected_bytes(tensor, part, 2);
    const int64_t begin = find_bytes(damaged, bytes);
    ASSERT_GT(begin, 0);
    for (const int64_t position : {begin, begin + std::ssize(bytes) / 2}) {
      flip_byte(damaged, position);
      for (const Cut cut : {Cut::columns, Cut::flat}) {
        EXPECT_THAT(read_parts(cut).second, AllOf(HasSubstr("rank-00001.h5"),
                                                  HasSubstr(tensor.name), HasSubstr("checksum")));
      }
      flip_byte(damaged, position);
    }
  }
}

TEST_F(CheckpointDamage, ATruncatedShardIsRefused) {
  const CheckpointReader opened_before(step());
  fs::resize_file(shard(1), fs::file_size(shard(1)) - 8);
  EXPECT_THAT(error_of_opening(), AllOf(HasSubstr("rank-00001.h5"), HasSubstr("bytes")));
  std::vector<std::byte> out(64 * 32 * 4);
  EXPECT_THAT(error_of([&] {
                opened_before.read("/model/w", Box::whole({64, 32}), out.data());
              }),
              HasSubstr("rank-00001.h5"));
}

TEST_F(CheckpointDamage, AMissingShardIsRefused) {
  fs::remove(shard(3));
  EXPECT_THAT(error_of_opening(), AllOf(HasSubstr("rank-00003.h5"), HasSubstr("No such file")));
}

TEST_F(CheckpointDamage, AShardOfAnotherSaveIsRefused) {
  save(folder_.path() / "other", 1, tensors_, 4);
  const fs::path other = checkpoint_folder(folder_.path() / "other", 1) / "shards";
  ASSERT_EQ(fs::file_size(other / "rank-00001.h5"), fs::file_size(shard(1)));
  fs::copy_file(other / "rank-00001.h5", shard(1), fs::copy_options::overwrite_existing);
  EXPECT_THAT(error_of_opening(), AllOf(HasSubstr("rank-00001.h5"), HasSubstr("belongs to")));
}

TEST_F(CheckpointDamage, ExchangedShardsAreRefused) {
  std::vector<TensorCase> even = {{"/w", {8, 2}, DType::f32, Cut::columns_then_flat, {}}};
  save(folder_.path(), 2, even, 2);
  const fs::path shards = checkpoint_folder(folder_.path(), 2) / "shards";
  ASSERT_EQ(fs::file_size(shards / "rank-00000.h5"), fs::file_size(shards / "rank-00001.h5"));
  fs::rename(shards / "rank-00000.h5", shards / "x");
  fs::rename(shards / "rank-00001.h5", shards / "rank-00000.h5");
  fs::rename(shards / "x", shards / "rank-00001.h5");
  EXPECT_THAT(error_of([&] { CheckpointReader reader(shards.parent_path()); }),
              AllOf(HasSubstr("rank-00000.h5"), HasSubstr("belongs to rank 1")));
}

TEST_F(CheckpointDamage, NoByteOfTheMasterCanBeChangedUnseen) {
  const auto bytes = static_cast<int64_t>(fs::file_size(master()));
  int refused = 0;
  for (int64_t position = 0; position < bytes; position += position < 4096 ? 3 : 331) {
    flip_byte(master(), position);
    const std::string error = error_of([&] {
      const CheckpointReader reader(step());
      EXPECT_EQ(reader.info().step, 1);
      EXPECT_EQ(reader.info().samples, 512);
      EXPECT_EQ(reader.info().documents, info_of_step(1).documents);
      EXPECT_EQ(difference(step(), tensors_, 1), "");
      reader.verify();
    });
    if (!error.empty()) {
      ++refused;
      EXPECT_THAT(error, HasSubstr(folder_.path().string()));
    }
    flip_byte(master(), position);
  }
  EXPECT_GT(refused, 100);
  EXPECT_EQ(error_of_opening(), "");
}

TEST_F(CheckpointDamage, NoByteOfAShardCanBeChangedUnseen) {
  const auto bytes = static_cast<int64_t>(fs::file_size(shard(1)));
  for (int64_t position = 0; position < bytes; position += 13) {
    flip_byte(shard(1), position);
    const std::string error = error_of([&] {
      const CheckpointReader reader(step());
      reader.verify();
      EXPECT_EQ(difference(step(), tensors_, 1), "");
    });
    if (!error.empty()) {
      EXPECT_THAT(error, HasSubstr("rank-00001.h5"));
    }
    flip_byte(shard(1), position);
  }
}

TEST_F(CheckpointDamage, ATruncatedOrForeignMasterIsRefused) {
  const auto bytes = fs::file_size(master());
  for (const auto rest : {bytes - 1, bytes / 2, uintmax_t{100}, uintmax_t{0}}) {
    fs::resize_file(master(), rest);
    EXPECT_THAT(error_of_opening(), HasSubstr("checkpoint.h5")) << rest;
  }
  std::ofstream(master()) << "not HDF5";
  EXPECT_THAT(error_of_opening(), HasSubstr("checkpoint.h5"));
  fs::copy_file(shard(0), master(), fs::copy_options::overwrite_existing);
  EXPECT_THAT(error_of_opening(), AllOf(HasSubstr("checkpoint.h5"), HasSubstr("format")));
  fs::remove(master());
  EXPECT_THAT(error_of_opening(), HasSubstr("no complete checkpoint"));
}

}  // namespace
}  // namespace switchyard
