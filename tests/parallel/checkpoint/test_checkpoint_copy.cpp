// Checkpoints written anew in another number of files.
#include "parallel/checkpoint/checkpoint_copy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>

#include <atomic>
#include <thread>

#include "core/error.h"
#include "core/memory.h"
#include "parallel/checkpoint/checked_reads.h"
#include "parallel/checkpoint/index.h"
#include "parallel/checkpoint/read_ahead.h"
#include "tests/parallel/checkpoint/checkpoint_cases.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {
namespace {

using namespace test;
namespace fs = std::filesystem;
using testing::HasSubstr;

// Tensors of every cut, and of moments, which lie in files of their own.
std::vector<TensorCase> some_state(uint64_t seed) {
  auto tensors = random_tensors(seed, 10);
  for (const char* group : {"exp_avg", "exp_avg_sq"}) {
    const std::string name = std::string("/optimizer/") + group + "/w";
    tensors.push_back({name, {61, 130}, DType::f32, Cut::columns_then_flat, {}});
  }
  tensors.push_back({"/model/w", {61, 130}, DType::f32, Cut::columns, {"/optimizer/master/w"}});
  return tensors;
}

// Copies a checkpoint whole; returns the bytes that were told of.
int64_t copy(const fs::path& from, const fs::path& to, const CopyOptions& how) {
  const CheckpointReader reader(from);
  CheckedReads reads(reader);
  std::vector<CopiedTensor> tensors;
  for (const IndexedTensor& entry : reader.index().tensors) {
    tensors.push_back(
        {entry.tensor, entry.aliases, [&, name = entry.tensor.name](const Box& part, void* out) {
           reads.read(name, part, out);
         }});
  }
  CheckpointInfo info = reader.info();
  info.id.clear();
  CopyOptions options = how;
  int64_t bytes = 0;
  options.progress = [&](int64_t more) {
    bytes += more;
    if (how.progress) how.progress(more);
  };
  copy_checkpoint(to, info, tensors, options);
  for (const int32_t checked : reads.checked_or_unread()) EXPECT_EQ(checked, 1);  // on the way
  return bytes;
}

TEST(CheckpointCopy, EveryNumberOfWritersHoldsTheSameBits) {
  const TemporaryFolder folder;
  for (const int ranks : {1, 3, 8}) {
    const auto tensors = some_state(static_cast<uint64_t>(ranks));
    save(folder.path() / "from", ranks, tensors, ranks);
    const auto from = checkpoint_folder(folder.path() / "from", ranks);
    for (const int writers : {1, 2, 5, 40}) {
      const auto to = folder.path() / fmt::format("to-{}", writers);
      copy(from, to, {.writers = writers});
      const auto step = checkpoint_folder(to, ranks);
      EXPECT_EQ(difference(step, tensors, static_cast<uint64_t>(ranks)), "") << writers;
      CheckpointReader(step).verify();
      EXPECT_NE(CheckpointReader(step).info().id, CheckpointReader(from).info().id);
    }
  }
}

TEST(CheckpointCopy, FilesHaveAboutEqualBytesAndMomentsTheirOwn) {
  const TemporaryFolder folder;
  std::vector<TensorCase> tensors;
  for (int i = 0; i < 6; ++i) {
    for (const char* group : {"/model/", "/optimizer/exp_avg/"})
      tensors.push_back(
          {fmt::format("{}w{}", group, i), {400 + 100 * i, 64}, DType::f32, Cut::flat, {}});
  }
  save(folder.path() / "from", 3, tensors, 4);
  copy(checkpoint_folder(folder.path() / "from", 3), folder.path() / "to", {.writers = 4});
  const CheckpointReader reader(checkpoint_folder(folder.path() / "to", 3));
  std::map<int, int64_t> bytes;
  for (const IndexedTensor& entry : reader.index().tensors) {
    for (const StoredPiece& piece : entry.pieces) {
      bytes[piece.shard] += piece.box.extent.elements() * 4;
      const auto& shard = reader.index().shards[static_cast<size_t>(piece.shard)];
      EXPECT_EQ(shard.part == "moments", entry.tensor.name.starts_with("/optimizer/"));
    }
  }
  EXPECT_EQ(bytes.size(), 8u);
  for (const auto& [shard, held] : bytes) EXPECT_NEAR(held, 6 * 650 * 64, 64 * 4) << shard;
}

TEST(CheckpointCopy, MemoryIsBounded) {
  const TemporaryFolder folder;
  const int64_t rows = 40'000;  // 160 MB of 4000 bytes a row
  save(folder.path() / "from", 1, {{"/model/w", {rows, 1000}, DType::f32, Cut::columns, {}}}, 2);
  const auto from = checkpoint_folder(folder.path() / "from", 1);
  const int64_t before = memory_statistics().bytes;
  int64_t most = 0;
  const auto bytes = copy(from, folder.path() / "to",
                          {.memory_bytes = least_copy_memory, .progress = [&](int64_t) {
                             most = std::max(most, memory_statistics().bytes - before);
                           }});
  EXPECT_EQ(bytes, rows * 4000);
  EXPECT_GT(most, 0);
  EXPECT_LE(most, int64_t{64} << 20);  // the rest is the write queue's
}

TEST(CheckpointCopy, ADamagedPieceIsNamedAndNothingIsLeft) {
  const TemporaryFolder folder;
  const auto tensors = some_state(5);
  save(folder.path() / "from", 5, tensors, 3);
  const auto from = checkpoint_folder(folder.path() / "from", 5);
  const CheckpointIndex index = CheckpointReader(from).index();
  const StoredPiece& piece = index.tensors.back().pieces.back();
  const auto file =
      from / "shards" /
      fmt::format("rank-{:05d}.moments.h5", index.shards[static_cast<size_t>(piece.shard)].rank);
  flip_byte(file, piece.address);
  const std::string error = error_of([&] { copy(from, folder.path() / "to", {.writers = 2}); });
  EXPECT_THAT(error, HasSubstr("damaged"));
  EXPECT_THAT(error, HasSubstr(file.string()));
  EXPECT_THAT(error, HasSubstr("/optimizer/exp_avg_sq/w"));
  EXPECT_TRUE(list_checkpoints(folder.path() / "to").empty());
}

TEST(CheckpointCopy, AnErrorOfTheProgressAndAFullDiskLeaveNothing) {
  const TemporaryFolder folder;
  save(folder.path() / "from", 1, {{"/model/w", {3000, 300}, DType::f32, Cut::rows, {}}}, 2);
  const auto from = checkpoint_folder(folder.path() / "from", 1);
  const auto to = folder.path() / "to";
  const auto stop = [](int64_t) { fail("test", "stopped here"); };
  EXPECT_THAT(error_of([&] { copy(from, to, {.writers = 3, .progress = stop}); }),
              HasSubstr("stopped here"));
  EXPECT_TRUE(list_checkpoints(to).empty());
  if (mount("tmpfs", to.c_str(), "tmpfs", 0, "size=2m") != 0)
    GTEST_SKIP() << "mounting a small disk needs root";
  EXPECT_THAT(error_of([&] { copy(from, to, {.writers = 3}); }),
              HasSubstr("No space left on device"));
  EXPECT_TRUE(list_checkpoints(to).empty());
  umount2(to.c_str(), MNT_DETACH);
}

TEST(ReadAhead, GivesPartsInOrderAndTheErrorAtItsPlace) {
  std::vector<ReadAhead::Part> parts;
  std::atomic<int> ahead = 0;
  for (int i = 0; i < 20; ++i) {
    parts.push_back({static_cast<int64_t>(sizeof(int)), [i, &ahead](void* out) {
                       check(i != 15, "test", "part 15");
                       *static_cast<int*>(out) = i;
                       ++ahead;
                     }});
  }
  ReadAhead reads(parts, 3);
  for (int i = 0; i < 15; ++i) {
    const auto part = reads.next();
    EXPECT_EQ(part.size(), sizeof(int));
    EXPECT_EQ(*reinterpret_cast<const int*>(part.data()), i);
    EXPECT_LE(ahead, i + 3);
  }
  EXPECT_THAT(error_of([&] { reads.next(); }), HasSubstr("part 15"));
  EXPECT_THAT(error_of([&] { reads.next(); }), HasSubstr("part 15"));
}

}  // namespace
}  // namespace switchyard
