#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <hdf5.h>
#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <random>

#include "core/error.h"
#include "parallel/checkpoint/files.h"
#include "parallel/checkpoint/read_threads.h"
#include "parallel/checkpoint/shard.h"
#include "tests/parallel/checkpoint/checkpoint_cases.h"
#include "tests/support/temporary_folder.h"

// Places first, then bytes in any order, behind HDF5's back; and what reads them.
namespace switchyard {
namespace {

using namespace test;
namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

struct Written {
  TensorCase tensor;
  std::vector<std::byte> bytes;
  size_t place = 0;
};

Written u8_tensor(const std::string& name, int64_t bytes) {
  const TensorCase tensor{name, {bytes}, DType::u8, Cut::rows, {}};
  return {tensor, expected_bytes(tensor, Box::whole(tensor.shape), 1)};
}

class CheckpointShard : public testing::Test {
 protected:
  CheckpointShard() { fs::create_directory(folder_.path() / shards_name); }

  static StoredTensor stored(const Written& one) {
    return {one.tensor.name, one.tensor.shape, one.tensor.dtype};
  }
  void reserve_all(RankShards& shards, std::vector<Written>& all) const {
    for (Written& one : all) {
      one.place = shards.reserve(stored(one), 0, Box::whole(one.tensor.shape));
    }
  }
  fs::path file_of(const StoredShard& shard) const {
    return folder_.path() / shards_name / shard_name(shard.rank, shard.part);
  }
  // As HDF5 reads it, and at the address, by either way.
  void expect_stored(const Written& one, const StoredPiece& piece, const StoredShard& shard) const {
    const hdf5::Session session;
    const hdf5::Id file = hdf5::open_file(file_of(shard));
    const hdf5::Id dataset = hdf5::open_dataset(file, piece.dataset);
    std::vector<std::byte> got(one.bytes.size());
    ASSERT_GE(H5Dread(dataset, hdf5::file_type(one.tensor.dtype), H5S_ALL, H5S_ALL, H5P_DEFAULT,
                      got.data()),
              0);
    EXPECT_TRUE(got == one.bytes) << piece.dataset;
    const uint64_t sum = XXH3_64bits(one.bytes.data(), one.bytes.size());
    EXPECT_EQ(piece.checksum, sum) << piece.dataset;
    EXPECT_EQ(hdf5::read_unsigned_attribute(dataset, "xxh3_64"), sum) << piece.dataset;
    for (const ReadWay way : {ReadWay::cached, ReadWay::direct}) {
      std::ranges::fill(got, std::byte{0});
      ReadableFile(file_of(shard)).read(piece.address, std::ssize(got), got.data(), way);
      EXPECT_TRUE(got == one.bytes) << piece.dataset;
    }
  }
  void write_in_random_order(std::vector<Written> all) const {
    RankShards shards(folder_.path(), 3, info_);
    reserve_all(shards, all);
    std::ranges::shuffle(all, std::mt19937(5));
    for (const Written& one : all) {
      std::vector<std::byte> passing = one.bytes;  // may change once it was given
      shards.write(one.place, passing.data());
      std::ranges::fill(passing, std::byte{0xee});
    }
    const auto files = shards.finish();
    for (const Written& one : all) {
      const StoredPiece& piece = shards.piece(one.place);
      expect_stored(one, piece, files.at(static_cast<size_t>(piece.shard)));
    }
  }

  const TemporaryFolder folder_;
  const CheckpointInfo info_ = info_of_step(1);
};

// Around blocks of 4096 bytes, parts of 64 KiB and buffers of 8 MiB; in both files of a rank.
TEST_F(CheckpointShard, PiecesOfAnySizeAreWrittenInAnyOrder) {
  std::vector<Written> all;
  for (const int64_t bytes : {1, 4095, 4096, 4097, 65'535, 65'536, 70'001, 8'388'608, 9'000'001}) {
    all.push_back(u8_tensor(fmt::format("/model/w{}", bytes), bytes));
    all.push_back(u8_tensor(fmt::format("/optimizer/exp_avg/w{}", bytes), bytes));
  }
  write_in_random_order(std::move(all));
}

TEST_F(CheckpointShard, ThousandsOfSmallPiecesAreWrittenInAnyOrder) {
  std::vector<Written> all;
  for (int i = 0; i < 3000; ++i) {
    all.push_back(u8_tensor(fmt::format("/model/layers.{}.w", i), 1 + i * 7 % 9001));
  }
  write_in_random_order(std::move(all));
}

TEST_F(CheckpointShard, PartsThatAreAddedMakeTheSamePiece) {
  std::vector<Written> all = {u8_tensor("/model/a", 300'001), u8_tensor("/model/b", 20'000'003)};
  RankShards shards(folder_.path(), 0, info_);
  std::vector<StoredPiece> pieces;
  for (const Written& one : all) {
    const auto source = [&](const Box& part) { return one.bytes.data() + part.offset[0]; };
    pieces.push_back(shards.add(stored(one), 0, Box::whole(one.tensor.shape), source, 100'000));
  }
  const auto files = shards.finish();
  for (size_t i = 0; i < all.size(); ++i) expect_stored(all[i], pieces[i], files.at(0));
}

TEST_F(CheckpointShard, WhatIsReservedIsWrittenOnce) {
  std::vector<Written> all = {u8_tensor("/model/a", 10), u8_tensor("/model/b", 10)};
  RankShards shards(folder_.path(), 0, info_);
  reserve_all(shards, all);
  shards.write(all[0].place, all[0].bytes.data());
  EXPECT_THAT(error_of([&] { shards.write(all[0].place, all[0].bytes.data()); }),
              AllOf(HasSubstr("/model/a"), HasSubstr("twice")));
  EXPECT_THAT(error_of([&] { shards.finish(); }),
              AllOf(HasSubstr("/model/b"), HasSubstr("never written"), HasSubstr("rank-00000.h5")));
  EXPECT_FALSE(fs::exists(folder_.path() / shards_name / "rank-00000.h5"));
}

TEST_F(CheckpointShard, ARankWithoutPiecesWritesNoFile) {
  RankShards shards(folder_.path(), 0, info_);
  EXPECT_TRUE(shards.finish().empty());
  EXPECT_TRUE(fs::is_empty(folder_.path() / shards_name));
}

// Refused by the disk while it is written, with the room promised: the error comes, nothing hangs.
TEST(CheckpointWriteQueue, AFullDiskIsToldOnceByALaterCall) {
  DirectFile full;
  ASSERT_FALSE(full.open("/dev/full", DirectFile::Begin::as_it_is));
  const std::vector<std::byte> bytes(size_t{10} << 20);
  for (const int64_t large : {0, 1}) {
    WriteQueue queue;
    const std::string error = error_of([&] {
      const size_t part = large != 0 ? bytes.size() : 100;
      for (int64_t i = 0; i < 20; ++i) {
        queue.add(full, i * 20'000'001, std::span(bytes).first(part));
      }
      queue.wait();
    });
    EXPECT_THAT(error, AllOf(HasSubstr("/dev/full"), HasSubstr("No space left on device")));
  }
}

constexpr int64_t many = int64_t{1} << 30;  // bytes: threads are worth it

TEST(CheckpointReadThreads, EveryJobIsDoneOnceAndTold) {
  std::vector<int> done(500);
  int64_t told = 0;
  const auto make_worker = [&]() -> ReadWorker {
    return [&](size_t job, const TellBytes& tell) {
      ++done[job];
      tell(3);
    };
  };
  for (const int64_t bytes : {int64_t{1}, many}) {
    read_on_threads(done.size(), bytes, make_worker, [&](int64_t part) { told += part; });
  }
  EXPECT_EQ(std::ranges::count(done, 2), 500);
  EXPECT_EQ(told, 2 * 500 * 3);
}

TEST(CheckpointReadThreads, TheFirstErrorEndsThemAll) {
  const auto make_worker = []() -> ReadWorker {
    return [](size_t job, const TellBytes& tell) {
      check(job != 20, "test", "job {} fails", job);
      tell(1);
    };
  };
  EXPECT_THAT(error_of([&] { read_on_threads(1000, many, make_worker, {}); }),
              HasSubstr("job 20 fails"));
  const auto stop = [](int64_t) { fail("test", "stopped on the way"); };
  EXPECT_THAT(error_of([&] { read_on_threads(10, many, make_worker, stop); }),
              HasSubstr("stopped on the way"));
}

}  // namespace
}  // namespace switchyard
