#include "parallel/checkpoint/staging.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <omp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <thread>

#include "parallel/checkpoint/checksum.h"
#include "parallel/checkpoint/direct_file.h"
#include "parallel/comm/communicators.h"
#include "tests/parallel/checkpoint/checkpoint_cases.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {
namespace {

using namespace test;
using testing::HasSubstr;

constexpr int64_t all = std::numeric_limits<int64_t>::max();

TEST(Staging, CopiesInOrderWhatStillFits) {
  const std::vector<TensorCase> tensors = {{"/a", {10}, DType::f32, Cut::rows, {}},
                                           {"/b", {100}, DType::f32, Cut::rows, {}},
                                           {"/c", {5}, DType::f32, Cut::rows, {}}};
  LocalPieces pieces(tensors, 1, 0);
  Staging staging;
  staging.take(pieces.sharded(), 60);
  EXPECT_EQ(staging.bytes(), 460);
  EXPECT_EQ(staging.uncopied(), 400);
  const auto& taken = staging.tensors();
  EXPECT_TRUE(taken[0].pieces[0].copied);
  EXPECT_FALSE(taken[1].pieces[0].copied);
  EXPECT_EQ(taken[1].pieces[0].data, pieces.sharded()[1].pieces[0].data);
  EXPECT_TRUE(taken[2].pieces[0].copied);
  staging.take(pieces.sharded(), all);
  EXPECT_EQ(staging.uncopied(), 0);
  for (const auto& tensor : taken) EXPECT_TRUE(tensor.pieces[0].copied);
}

TEST(Staging, LargePiecesBeginAtABlock) {
  const std::vector<TensorCase> tensors = {{"/a", {10}, DType::f32, Cut::rows, {}},
                                           {"/b", {16'384}, DType::f32, Cut::rows, {}},
                                           {"/c", {50'001}, DType::f32, Cut::rows, {}},
                                           {"/d", {3}, DType::f32, Cut::rows, {}},
                                           {"/e", {50'001}, DType::f32, Cut::rows, {}}};
  LocalPieces pieces(tensors, 1, 0);
  pieces.fill(1);
  Staging staging;
  staging.take(pieces.sharded(), all);
  for (size_t i = 0; i < tensors.size(); ++i) {
    const StagedPiece& piece = staging.tensors()[i].pieces[0];
    if (piece.bytes >= DirectFile::least_bytes) {
      EXPECT_EQ(reinterpret_cast<uintptr_t>(piece.data) % DirectFile::block_bytes(), 0u);
    }
    const auto expected = expected_bytes(tensors[i], piece.box, 1);
    EXPECT_EQ(std::memcmp(piece.data, expected.data(), expected.size()), 0) << tensors[i].name;
  }
}

TEST(Staging, LongPiecesAreCopiedWhole) {
  const std::vector<TensorCase> tensors = {{"/a", {700'001, 3}, DType::f32, Cut::rows, {}}};
  LocalPieces pieces(tensors, 1, 0);
  pieces.fill(1);
  Staging staging;
  staging.take(pieces.sharded(), all);
  const StagedPiece& piece = staging.tensors()[0].pieces[0];
  const auto expected = expected_bytes(tensors[0], piece.box, 1);
  EXPECT_EQ(std::memcmp(piece.data, expected.data(), expected.size()), 0);
}

// Of pieces that are copied side by side; a large one alone is copied by all threads, and the saver
// forms its checksum.
TEST(Staging, CopyingFormsChecksumsWherePiecesAreManyForItsThreads) {
  std::vector<TensorCase> tensors;
  tensors.reserve(100);
  for (int i = 0; i < 100; ++i)
    tensors.push_back({fmt::format("/t{}", i), {20'000 + i}, DType::f32, Cut::rows, {}});
  LocalPieces pieces(tensors, 1, 0);
  pieces.fill(1);
  const int threads = omp_get_max_threads();
  omp_set_num_threads(2);
  Staging staging;
  staging.take(pieces.sharded(), all);
  for (const StagedTensor& tensor : staging.tensors()) {
    const StagedPiece& piece = tensor.pieces[0];
    const std::span bytes(static_cast<const std::byte*>(piece.data),
                          static_cast<size_t>(piece.bytes));
    EXPECT_EQ(piece.checksum, checksum_of(bytes)) << tensor.tensor.name;
  }
  staging.take(std::span(pieces.sharded()).first(1), all);
  EXPECT_EQ(staging.tensors()[0].pieces[0].checksum, 0u);
  staging.take(pieces.sharded(), 1);
  EXPECT_EQ(staging.tensors()[0].pieces[0].checksum, 0u);
  omp_set_num_threads(threads);
}

// How many of the pages have memory.
int64_t resident_pages(const void* data, int64_t pages) {
  std::vector<unsigned char> state(static_cast<size_t>(pages));
  const auto bytes = static_cast<size_t>(pages) * static_cast<size_t>(sysconf(_SC_PAGESIZE));
  EXPECT_EQ(mincore(const_cast<void*>(data), bytes, state.data()), 0);
  return std::ranges::count_if(state, [](unsigned char one) { return (one & 1) != 0; });
}

TEST(Staging, MemoryThatWasReservedIsThereWhenASaveComes) {
  const std::vector<TensorCase> tensors = {{"/a", {3'000'000}, DType::f32, Cut::rows, {}}};
  LocalPieces pieces(tensors, 1, 0);
  Staging staging;
  staging.reserve(pieces.sharded(), 11'999'999);
  EXPECT_EQ(staging.reserved(), 0);  // what does not fit is not copied
  staging.reserve(pieces.sharded(), all);
  EXPECT_EQ(staging.reserved(), 12'000'000);
  const int64_t allocations = memory_statistics().allocations;
  const int64_t pages = 12'000'000 / sysconf(_SC_PAGESIZE);
  EXPECT_EQ(resident_pages(staging.memory(), pages), pages);
  staging.take(pieces.sharded(), all);
  EXPECT_EQ(memory_statistics().allocations, allocations);
  EXPECT_EQ(staging.tensors()[0].pieces[0].data, staging.memory());
  staging.reserve(pieces.sharded(), 1);
  EXPECT_EQ(memory_statistics().allocations, allocations);
}

// What was copied is written by another thread while the tensors change, the rest before.
TEST(Staging, ALimitOfEachRankChangesNoBitOfACheckpoint) {
  const TemporaryFolder folder;
  const auto tensors = random_tensors(11, 12);
  int64_t step = 0;
  for (const std::vector<int64_t>& limits : std::vector<std::vector<int64_t>>{
           {0, 0, 0}, {all, all, all}, {0, 1000, all}, {1, 20'000, 300}}) {
    ++step;
    run_thread_ranks(3, {}, [&](Communicator& world) {
      LocalPieces pieces(tensors, world.size(), world.rank());
      pieces.fill(static_cast<uint64_t>(step));
      CheckpointWriter writer(folder.path(), world.control());
      int64_t left = 0;
      const bool some_left = world.control().agree_and_ask(
          [&] {
            left = writer.stage(info_of_step(step), pieces.sharded(),
                                limits[static_cast<size_t>(world.rank())]);
          },
          [&] { return left > 0; });
      if (some_left) writer.write_uncopied();
      std::thread saver([&] { writer.commit(); });
      pieces.fill(99);
      saver.join();
    });
    EXPECT_EQ(
        difference(checkpoint_folder(folder.path(), step), tensors, static_cast<uint64_t>(step)),
        "");
  }
}

TEST(Staging, WhatIsNotCopiedMustBeWrittenBefore) {
  const TemporaryFolder folder;
  const auto world = make_self_communicator();
  const auto tensors = random_tensors(3, 4);
  LocalPieces pieces(tensors, 1, 0);
  CheckpointWriter writer(folder.path(), world->control());
  EXPECT_GT(writer.stage(info_of_step(1), pieces.sharded(), 0), 0);
  EXPECT_THAT(error_of([&] { writer.commit(); }), HasSubstr("write_uncopied before"));
  EXPECT_FALSE(std::filesystem::exists(checkpoint_folder(folder.path(), 1)));
}

}  // namespace
}  // namespace switchyard
