#include "parallel/checkpoint/staging.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <thread>

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
