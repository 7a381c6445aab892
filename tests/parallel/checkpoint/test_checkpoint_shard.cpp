#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <hdf5.h>
#include <xxhash.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <random>
#include <thread>

#include "core/error.h"
#include "core/memory.h"
#include "parallel/checkpoint/checksum.h"
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
  void reserve_all(RankShards& shards, std::vector<Written>& all, bool known = false) const {
    for (Written& one : all) {
      const uint64_t sum = known ? checksum_of(one.bytes) : 0;
      one.place = shards.reserve(stored(one), 0, Box::whole(one.tensor.shape), sum);
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

// So that what was copied to blocks of memory is written from there.
TEST_F(CheckpointShard, LargePiecesBeginAtABlockAndCostLittle) {
  std::vector<Written> all;
  for (int i = 0; i < 40; ++i) {
    all.push_back(u8_tensor(fmt::format("/model/large{}", i), 65'536 + i * 1001));
    all.push_back(u8_tensor(fmt::format("/model/small{}", i), 65'535 - i * 777));
  }
  RankShards shards(folder_.path(), 0, info_);
  reserve_all(shards, all);
  int64_t bytes = 0;
  for (const Written& one : all) {
    const StoredPiece& piece = shards.piece(one.place);
    if (std::ssize(one.bytes) >= DirectFile::least_bytes) {
      EXPECT_EQ(piece.address % DirectFile::block_bytes(), 0) << piece.dataset;
    }
    bytes += std::ssize(one.bytes);
    shards.write(one.place, one.bytes.data());
  }
  const int64_t of_hdf5 = std::ssize(all) * 1500;  // what it says of a dataset, and reserves
  EXPECT_LT(shards.finish().at(0).bytes, bytes + 40 * DirectFile::block_bytes() + of_hdf5);
}

// Also between its datasets, whatever lay in the memory, whichever way the bytes took, and
// whenever; and whether their checksums were known first, so that HDF5 had written all before them.
TEST_F(CheckpointShard, EqualContentsGiveEqualFiles) {
  std::vector<Written> all;
  for (const int64_t bytes : {70'001, 65'536, 13, 1'000'003, 900})
    all.push_back(u8_tensor(fmt::format("/model/w{}", bytes), bytes));
  std::vector<std::string> files;
  for (const std::string way : {"passes", "stays", "known"}) {
    const bool stays = way != "passes", known = way == "known";
    const fs::path place = folder_.path() / way;
    fs::create_directories(place / shards_name);
    RankShards shards(place, 0, info_);
    reserve_all(shards, all, known);
    std::vector<StoredShard> described;
    if (known) described = shards.describe();
    for (const Written& one : all) {
      if (stays) {
        shards.write_staying(one.place, one.bytes.data());
      } else {
        shards.write(one.place, one.bytes.data());
      }
    }
    const auto finished = shards.finish();
    files.push_back(read_file(place / shards_name / "rank-00000.h5"));
    if (!stays) std::this_thread::sleep_for(std::chrono::milliseconds(1100));  // HDF5's times: 1 s
    if (!known) continue;
    EXPECT_EQ(described.at(0).bytes, std::ssize(files.back()));
    const ReadableFile file(place / shards_name / "rank-00000.h5");
    std::vector<FileRange> ranges;
    for (const Written& one : all) {
      const int64_t begin = shards.piece(one.place).address;
      ranges.push_back({begin, begin + std::ssize(one.bytes)});
    }
    EXPECT_EQ(described.at(0).rest, checksum_outside(file, ranges));
  }
  EXPECT_TRUE(files[0] == files[1]);
  EXPECT_TRUE(files[0] == files[2]);
}

// HDF5 walks through all open attributes of the process at each that it makes or opens.
TEST_F(CheckpointShard, NothingOfHdf5StaysOpenForAPiece) {
  std::vector<Written> all;
  for (const char* name : {"/model/a", "/model/b", "/model/c/d"})
    all.push_back(u8_tensor(name, 100));
  RankShards shards(folder_.path(), 0, info_);
  reserve_all(shards, all);
  const hdf5::Session session;
  EXPECT_EQ(H5Fget_obj_count(H5F_OBJ_ALL, H5F_OBJ_ATTR | H5F_OBJ_DATASET | H5F_OBJ_GROUP), 0);
}

// Also one that is known is not taken for the bytes.
TEST_F(CheckpointShard, AKnownChecksumIsNoWrite) {
  std::vector<Written> all = {u8_tensor("/model/a", 10)};
  RankShards shards(folder_.path(), 0, info_);
  reserve_all(shards, all, true);
  shards.describe();
  EXPECT_THAT(error_of([&] { shards.finish(); }),
              AllOf(HasSubstr("/model/a"), HasSubstr("never written"), HasSubstr("rank-00000.h5")));
}

TEST(CheckpointChecksum, IsThatOfTheLibraryForAnySize) {
  const Memory from(300'000, Device::cpu, "from"), to(300'000, Device::cpu, "to");
  auto* const source = static_cast<std::byte*>(from.data());
  auto* const target = static_cast<std::byte*>(to.data());
  for (int i = 0; i < 300'000; ++i) source[i] = static_cast<std::byte>(i * 2654435761u >> 13);
  for (const size_t bytes : {0, 1, 63, 64, 65, 4095, 4096, 4097, 70'001, 262'144, 299'990}) {
    for (const size_t skipped : {0, 7}) {
      const std::span bytes_of(source + skipped, bytes);
      const uint64_t sum = XXH3_64bits(bytes_of.data(), bytes);
      EXPECT_EQ(checksum_of(bytes_of), sum) << bytes;
      for (const bool summed : {false, true}) {
        std::fill_n(target, 300'000, std::byte{0});
        if (summed) {
          EXPECT_EQ(copy_and_sum(target, bytes_of), sum) << bytes;
        } else {
          copy_past_caches(target, bytes_of);
        }
        EXPECT_TRUE(std::ranges::equal(bytes_of, std::span(target, bytes))) << bytes;
        EXPECT_EQ(target[bytes], std::byte{0}) << bytes;
      }
    }
  }
}

// In memory that stays, as far behind a block's begin as in the file and otherwise.
TEST_F(CheckpointShard, PiecesThatStayAreWrittenLikeOthers) {
  const Memory memory(50'000'000, Device::cpu, "staying");
  int rank = 0;
  for (const int64_t beside : {0, 64}) {
    std::vector<Written> all;
    for (const int64_t bytes : {1, 65'535, 65'536, 70'001, 9'000'001}) {
      all.push_back(u8_tensor(fmt::format("/model/w{}", bytes), bytes));
      all.push_back(u8_tensor(fmt::format("/optimizer/exp_avg/w{}", bytes), (bytes + 1) / 2));
    }
    RankShards shards(folder_.path(), rank++, info_);
    reserve_all(shards, all);
    int64_t begin = 0;
    for (const Written& one : all) {
      std::byte* const to = static_cast<std::byte*>(memory.data()) + begin + beside;
      std::ranges::copy(one.bytes, to);
      shards.write_staying(one.place, to);
      begin = DirectFile::blocks_up_to(begin + std::ssize(one.bytes) + beside);
    }
    const auto files = shards.finish();
    for (const Written& one : all) {
      const StoredPiece& piece = shards.piece(one.place);
      expect_stored(one, piece, files.at(static_cast<size_t>(piece.shard)));
    }
  }
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
  const Memory memory(int64_t{10} << 20, Device::cpu, "bytes");
  const std::span bytes(static_cast<const std::byte*>(memory.data()),
                        static_cast<size_t>(memory.bytes()));
  using Case = std::pair<bool, bool>;
  for (const Case& each : {Case{false, false}, Case{true, false}, Case{true, true}}) {
    const bool large = each.first, stays = each.second;
    WriteQueue queue;
    const std::string error = error_of([&] {
      const size_t part = large ? bytes.size() : 100;
      for (int64_t i = 0; i < 20; ++i) {
        const auto span = bytes.first(part);
        if (stays) {
          queue.add_staying(full, i * 5000 * DirectFile::block_bytes(), span);
        } else {
          queue.add(full, i * 20'000'001, span);
        }
      }
      queue.wait();
    });
    EXPECT_THAT(error, AllOf(HasSubstr("/dev/full"), HasSubstr("No space left on device")));
  }
}

// Blocks that stay are taken from where they lie; what is beside them, and others, are copied.
TEST(CheckpointWriteQueue, MemoryThatStaysIsNotCopied) {
  const TemporaryFolder folder;
  DirectFile file;
  ASSERT_FALSE(file.open(folder.path() / "file", DirectFile::Begin::emptied));
  constexpr int64_t block = 4096, bytes = 20'000'001;
  const Memory memory(bytes + block, Device::cpu, "staying");
  auto* const begin = static_cast<std::byte*>(memory.data());
  std::fill_n(begin, memory.bytes(), std::byte{7});
  WriteQueue queue;
  const std::span all(begin, static_cast<size_t>(bytes));
  queue.add_staying(file, 2 * block, all);
  queue.add_staying(file, 7 + 10'000 * block, std::span(begin + 7, all.size()));
  EXPECT_EQ(queue.buffers(), 0);
  queue.add_staying(file, 1 + 20'000 * block, all);
  EXPECT_GT(queue.buffers(), 0);
  queue.wait();
  const ReadableFile written(folder.path() / "file");
  for (const int64_t position : {2 * block, 7 + 10'000 * block, 1 + 20'000 * block}) {
    std::vector<std::byte> got(all.size());
    written.read(position, bytes, got.data());
    EXPECT_EQ(std::ranges::count(got, std::byte{7}), bytes) << position;
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
