#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <fstream>
#include <random>

#include "core/error.h"
#include "core/memory.h"
#include "parallel/comm/communicators.h"
#include "tests/parallel/checkpoint/checkpoint_cases.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {
namespace {

using namespace test;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

// Reads with every rank's own pieces, in another layout than wrote.
void expect_read_by(int ranks, const std::filesystem::path& folder, std::vector<TensorCase> tensors,
                    uint64_t version) {
  for (TensorCase& tensor : tensors) {
    tensor.cut = static_cast<Cut>((static_cast<int>(tensor.cut) + ranks) % 5);
  }
  for (int rank = 0; rank < ranks; ++rank) {
    LocalPieces pieces(tensors, ranks, rank);
    const CheckpointReader reader(folder);
    reader.read_and_check(pieces.sharded());
    EXPECT_EQ(pieces.first_difference(version), "") << "rank " << rank << " of " << ranks;
  }
}

TEST(Checkpoint, EveryLayoutReadsWhatEveryOtherWrote) {
  const TemporaryFolder folder;
  for (int ranks = 1; ranks <= 8; ++ranks) {
    const auto tensors = random_tensors(static_cast<uint64_t>(ranks), 12);
    save(folder.path(), ranks, tensors, ranks);
    const auto step = checkpoint_folder(folder.path(), ranks);
    EXPECT_EQ(difference(step, tensors, static_cast<uint64_t>(ranks)), "");
    for (const int readers : {1, 3, 8}) {
      expect_read_by(readers, step, tensors, static_cast<uint64_t>(ranks));
    }
    CheckpointReader(step).verify();
  }
}

TEST(Checkpoint, AnyBoxIsReadFromAnyCut) {
  const TemporaryFolder folder;
  std::vector<TensorCase> tensors;
  for (const Cut cut : {Cut::rows, Cut::columns, Cut::flat, Cut::columns_then_flat}) {
    tensors.push_back(
        {fmt::format("/t{}", static_cast<int>(cut)), {61, 1300}, DType::bf16, cut, {}});
  }
  save(folder.path(), 1, tensors, 6);
  const CheckpointReader reader(checkpoint_folder(folder.path(), 1));
  std::mt19937_64 random(7);
  for (int trial = 0; trial < 200; ++trial) {
    const TensorCase& tensor = tensors[random() % tensors.size()];
    Box box = Box::whole(tensor.shape);
    for (int axis = 0; axis < 2; ++axis) {
      const auto extent = static_cast<uint64_t>(tensor.shape[axis]);
      box.offset[axis] = static_cast<int64_t>(random() % extent);
      box.extent[axis] =
          static_cast<int64_t>(random() % (extent + 1 - static_cast<uint64_t>(box.offset[axis])));
    }
    const auto expected = expected_bytes(tensor, box, 1);
    std::vector<std::byte> got(expected.size());
    reader.read(tensor.name, box, got.data());
    ASSERT_EQ(got, expected) << box.offset.to_string() << box.extent.to_string();
  }
}

TEST(Checkpoint, TensorsOfThreeAndFourAxesAreCutAlongAny) {
  const TemporaryFolder folder;
  const std::vector<TensorCase> tensors = {{"/a", {5, 6, 7}, DType::f32, Cut::columns, {}},
                                           {"/b", {3, 4, 5, 6}, DType::u8, Cut::rows, {}},
                                           {"/c", {3, 4, 5, 6}, DType::u16, Cut::columns, {}}};
  save(folder.path(), 1, tensors, 3);
  EXPECT_EQ(difference(checkpoint_folder(folder.path(), 1), tensors, 1), "");
  const CheckpointReader reader(checkpoint_folder(folder.path(), 1));
  for (const TensorCase& tensor : tensors) {
    Box box = Box::whole(tensor.shape);
    for (int axis = 0; axis < tensor.shape.rank(); ++axis) {
      box.offset[axis] = 1;
      box.extent[axis] -= 2;
    }
    const auto expected = expected_bytes(tensor, box, 1);
    std::vector<std::byte> got(expected.size());
    reader.read(tensor.name, box, got.data());
    EXPECT_EQ(got, expected) << tensor.name;
  }
}

TEST(Checkpoint, InfoDocumentsAndTensorsComeBack) {
  const TemporaryFolder folder;
  const std::vector<TensorCase> tensors = {
      {"/model/b", {4, 2}, DType::f32, Cut::rows, {"/optimizer/master/b"}},
      {"/model/a", {0}, DType::f64, Cut::rows, {}}};
  save(folder.path(), 12, tensors, 2);
  const CheckpointReader reader(folder.path() / "step-00000012");
  const CheckpointInfo expected = info_of_step(12);
  EXPECT_EQ(reader.info().id.size(), 32u);
  EXPECT_EQ(reader.info().step, 12);
  EXPECT_EQ(reader.info().samples, expected.samples);
  EXPECT_EQ(reader.info().loss, expected.loss);
  EXPECT_EQ(reader.info().documents, expected.documents);
  ASSERT_EQ(reader.tensors().size(), 3u);
  EXPECT_EQ(reader.tensors()[0].name, "/model/a");
  EXPECT_EQ(reader.find("/optimizer/master/b")->shape, (Shape{4, 2}));
  EXPECT_EQ(reader.find("/model/c"), nullptr);
  std::vector<std::byte> original(32), alias(32);
  reader.read("/model/b", Box::whole({4, 2}), original.data());
  reader.read("/optimizer/master/b", Box::whole({4, 2}), alias.data());
  EXPECT_EQ(original, alias);
}

TEST(Checkpoint, ALossThatIsNotANumberComesBack) {
  const TemporaryFolder folder;
  const auto world = make_self_communicator();
  CheckpointWriter writer(folder.path(), world->control());
  CheckpointInfo info = info_of_step(1);
  info.loss = std::nan("");
  writer.stage(info, {});
  writer.commit();
  EXPECT_TRUE(std::isnan(CheckpointReader(checkpoint_folder(folder.path(), 1)).info().loss));
}

TEST(Checkpoint, SavingAgainAllocatesNothing) {
  const TemporaryFolder folder;
  const auto world = make_self_communicator();
  const auto tensors = random_tensors(3, 10);
  LocalPieces pieces(tensors, 1, 0);
  CheckpointWriter writer(folder.path(), world->control());
  int64_t bytes = 0;
  for (const auto& tensor : tensors) bytes += tensor.shape.elements() * size_of(tensor.dtype);
  const auto before = memory_statistics();
  for (int step = 1; step <= 3; ++step) {
    pieces.fill(static_cast<uint64_t>(step));
    writer.stage(info_of_step(step), pieces.sharded());
    pieces.fill(99);  // what happens to the memory after staging does not matter
    writer.commit();
    EXPECT_EQ(
        difference(checkpoint_folder(folder.path(), step), tensors, static_cast<uint64_t>(step)),
        "");
  }
  EXPECT_EQ(memory_statistics().allocations, before.allocations + 1);
  EXPECT_LE(memory_statistics().bytes, before.bytes + bytes + 4096);
}

TEST(Checkpoint, ACompleteOneIsNeverWrittenAgain) {
  const TemporaryFolder folder;
  const auto tensors = random_tensors(1, 3);
  save(folder.path(), 5, tensors, 2);
  const auto other = random_tensors(2, 3);
  EXPECT_THAT(error_of([&] { save(folder.path(), 5, other, 2); }),
              AllOf(HasSubstr("step-00000005"), HasSubstr("complete")));
  EXPECT_THAT(error_of([&] { CheckpointStreamWriter(folder.path(), info_of_step(5)); }),
              HasSubstr("complete"));
  EXPECT_EQ(difference(checkpoint_folder(folder.path(), 5), tensors, 5), "");
}

TEST(Checkpoint, AnIncompleteFolderIsRemovedBeforeItsStepIsSaved) {
  const TemporaryFolder folder;
  const auto step = checkpoint_folder(folder.path(), 5);
  std::filesystem::create_directories(step / "shards");
  std::ofstream(step / "shards" / "rank-00007.h5") << "of an earlier, larger run";
  const auto tensors = random_tensors(1, 3);
  save(folder.path(), 5, tensors, 2);
  EXPECT_EQ(difference(step, tensors, 5), "");
  EXPECT_FALSE(std::filesystem::exists(step / "shards" / "rank-00007.h5"));
}

TEST(Checkpoint, FoldersAreListedByStepAndRemoved) {
  const TemporaryFolder folder;
  const auto tensors = random_tensors(1, 2);
  EXPECT_THAT(list_checkpoints(folder.path() / "absent"), IsEmpty());
  save(folder.path(), 20, tensors, 1);
  save(folder.path(), 3, tensors, 1);
  for (const char* name : {"step-00000007", "step-7", "step-000000100", "step-x", "other"}) {
    std::filesystem::create_directory(folder.path() / name);
  }
  std::ofstream(folder.path() / "step-00000009") << "no folder";
  auto entries = list_checkpoints(folder.path());
  ASSERT_EQ(entries.size(), 3u);
  EXPECT_EQ(entries[0].step, 3);
  EXPECT_TRUE(entries[0].complete);
  EXPECT_EQ(entries[1].step, 7);
  EXPECT_FALSE(entries[1].complete);
  EXPECT_EQ(entries[2].folder, folder.path() / "step-00000020");
  remove_checkpoint(entries[0].folder);
  remove_checkpoint(entries[0].folder);
  EXPECT_EQ(list_checkpoints(folder.path()).size(), 2u);
  EXPECT_THAT(error_of([&] { remove_checkpoint(folder.path() / "other"); }),
              HasSubstr("step-NNNNNNNN"));
}

TEST(Checkpoint, AStreamIsReadLikeAnyOther) {
  const TemporaryFolder folder;
  auto tensors = random_tensors(11, 8);
  tensors.push_back({"/z/empty", {0, 3}, DType::f32, Cut::rows, {}});
  CheckpointStreamWriter writer(folder.path(), info_of_step(4), 64);
  for (size_t i = tensors.size(); i-- > 0;) {
    const TensorCase& tensor = tensors[i];
    const StoredTensor stored{tensor.name, tensor.shape, tensor.dtype};
    if (i % 2 == 0) {
      const auto all = expected_bytes(tensor, Box::whole(tensor.shape), 4);
      writer.add(stored, all.data(), tensor.aliases);
      continue;
    }
    const auto fill = [&](const Box& part, void* out) {
      const auto bytes = expected_bytes(tensor, part, 4);
      EXPECT_TRUE(bytes.size() <= 64 || part.extent[0] == 1);
      std::memcpy(out, bytes.data(), bytes.size());
    };
    writer.add(stored, fill, tensor.aliases);
  }
  writer.finish();
  EXPECT_EQ(difference(checkpoint_folder(folder.path(), 4), tensors, 4), "");
  CheckpointReader(checkpoint_folder(folder.path(), 4)).verify();
}

TEST(Checkpoint, AnUnfinishedStreamLeavesNothing) {
  const TemporaryFolder folder;
  {
    CheckpointStreamWriter writer(folder.path(), info_of_step(4));
    const float one = 1;
    writer.add({"/a", {1}, DType::f32}, &one);
  }
  EXPECT_THAT(list_checkpoints(folder.path()), IsEmpty());
}

// What saving says to boxes other than those that cover the tensor once.
std::string error_for_boxes(const std::vector<std::vector<Box>>& boxes_by_rank) {
  const TemporaryFolder folder;
  const std::string error = error_of([&] {
    run_thread_ranks(static_cast<int>(boxes_by_rank.size()), {}, [&](Communicator& world) {
      std::vector<float> memory(100);
      ShardedTensor tensor{"/model/w", {4, 4}, DType::f32, {}, {}};
      for (const Box& box : boxes_by_rank[static_cast<size_t>(world.rank())])
        tensor.pieces.push_back({box, memory.data()});
      CheckpointWriter writer(folder.path(), world.control());
      writer.stage(info_of_step(1), std::span(&tensor, 1));
      writer.commit();
    });
  });
  EXPECT_EQ(list_checkpoints(folder.path()).empty(), !error.empty());
  return error;
}

TEST(Checkpoint, BoxesThatDoNotCoverOnceAreRefused) {
  const Box upper{{0, 0}, {2, 4}}, lower{{2, 0}, {2, 4}}, middle{{1, 0}, {2, 4}};
  EXPECT_EQ(error_for_boxes({{upper}, {lower}}), "");
  EXPECT_THAT(error_for_boxes({{upper}, {}}),
              AllOf(HasSubstr("/model/w"), HasSubstr("8 of the 16")));
  EXPECT_THAT(error_for_boxes({{upper}, {middle}}),
              AllOf(HasSubstr("/model/w"), HasSubstr("overlap")));
  EXPECT_THAT(error_for_boxes({{upper, lower}, {upper}}), HasSubstr("overlap"));
  const Box left{{0, 0}, {4, 2}}, right{{0, 1}, {4, 2}};
  EXPECT_THAT(error_for_boxes({{left}, {right}}), HasSubstr("overlap"));
}

std::string error_for(const std::vector<ShardedTensor>& tensors, int64_t step_of_rank_1 = 1) {
  const TemporaryFolder folder;
  return error_of([&] {
    run_thread_ranks(2, {}, [&](Communicator& world) {
      std::vector<float> memory(100);
      ShardedTensor tensor = tensors[static_cast<size_t>(world.rank()) % tensors.size()];
      CheckpointWriter writer(folder.path(), world.control());
      writer.stage(info_of_step(world.rank() == 1 ? step_of_rank_1 : 1), std::span(&tensor, 1));
      writer.commit();
    });
  });
}

TEST(Checkpoint, RanksThatContradictEachOtherAreRefused) {
  const ShardedTensor empty{"/a", {0}, DType::f32, {}, {}};
  EXPECT_THAT(error_for({empty}, 2), AllOf(HasSubstr("step 2"), HasSubstr("step 1")));
  EXPECT_THAT(error_for({empty, {"/a", {0}, DType::f64, {}, {}}}),
              AllOf(HasSubstr("/a"), HasSubstr("f32"), HasSubstr("f64")));
  EXPECT_THAT(error_for({empty, {"/a", {0}, DType::f32, {}, {"/b"}}}), HasSubstr("aliases"));
  EXPECT_THAT(error_for({empty, {"/a/b", {0}, DType::f32, {}, {}}}), HasSubstr("inside tensor /a"));
  for (const char* name :
       {"model", "/", "/a//b", "/a/", "/a/../b", "/a#1", "/a%b", "/checkpoint/a"})
    EXPECT_THAT(error_for({{name, {0}, DType::f32, {}, {}}}), HasSubstr(name));
}

TEST(Checkpoint, ReadingNamesWhatDoesNotFit) {
  const TemporaryFolder folder;
  const std::vector<TensorCase> tensors = {{"/w", {4, 6}, DType::f32, Cut::rows, {}}};
  save(folder.path(), 1, tensors, 2);
  const CheckpointReader reader(checkpoint_folder(folder.path(), 1));
  std::vector<float> out(24);
  EXPECT_THAT(error_of([&] {
                reader.read("/v", Box::whole({4, 6}), out.data());
              }),
              HasSubstr("/v"));
  EXPECT_THAT(error_of([&] {
                reader.read("/w", {{1, 0}, {4, 6}}, out.data());
              }),
              AllOf(HasSubstr("/w"), HasSubstr("[4, 6]"), HasSubstr("outside")));
  const auto error_of_request = [&](const Shape& shape, DType dtype) {
    const ShardedTensor wanted{"/w", shape, dtype, {}, {}};
    return error_of([&] { reader.read_and_check(std::span(&wanted, 1)); });
  };
  EXPECT_THAT(error_of_request({6, 4}, DType::f32),
              AllOf(HasSubstr("[4, 6]"), HasSubstr("[6, 4]")));
  EXPECT_THAT(error_of_request({4, 6}, DType::bf16), AllOf(HasSubstr("f32"), HasSubstr("bf16")));
  EXPECT_EQ(error_of_request({4, 6}, DType::f32), "");
}

}  // namespace
}  // namespace switchyard
