#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <thread>

#include "parallel/checkpoint/files.h"
#include "parallel/checkpoint/index.h"
#include "parallel/comm/communicators.h"
#include "tests/parallel/checkpoint/checkpoint_cases.h"
#include "tests/support/temporary_folder.h"

namespace {
thread_local bool writes_fail = false;
}

// In place of the C library's, for all of this program.
extern "C" ssize_t pwrite(int descriptor, const void* data, size_t bytes, off_t position) {
  if (!writes_fail) return syscall(SYS_pwrite64, descriptor, data, bytes, position);
  errno = EIO;
  return -1;
}

// Ranks whose pieces go into the files of one of them.
namespace switchyard {
namespace {

using namespace test;
namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr int64_t all = std::numeric_limits<int64_t>::max();

using Groups = std::vector<std::vector<int>>;

const std::vector<int>& group_of(const Groups& groups, int rank) {
  return *std::ranges::find_if(
      groups, [&](const auto& group) { return std::ranges::find(group, rank) != group.end(); });
}

class SharedFiles : public testing::Test {
 protected:
  // Saves step 1 while the tensors change; without groups each rank has files of its own. A rank
  // copies at most `limit` bytes.
  void save(const std::string& name, const std::vector<TensorCase>& tensors, const Groups& groups,
            int ranks, const std::function<int64_t(int rank)>& limit) const {
    run_thread_ranks(ranks, {}, [&](Communicator& world) {
      LocalPieces pieces(tensors, world.size(), world.rank());
      pieces.fill(1);
      std::unique_ptr<ControlPlane> sharing;
      if (!groups.empty())
        sharing = world.control().split(group_of(groups, world.rank()), "shared files");
      CheckpointWriter writer(at(name), world.control(), {}, sharing.get());
      int64_t left = 0;
      const bool some_left = world.control().agree_and_ask(
          [&] { left = writer.stage(info_of_step(1), pieces.sharded(), limit(world.rank())); },
          [&] { return left > 0; });
      if (some_left) writer.write_uncopied();
      std::thread saver([&] { writer.commit(); });
      pieces.fill(99);
      saver.join();
    });
  }
  fs::path at(const std::string& name) const { return folder_.path() / name; }
  fs::path step_of(const std::string& name) const { return checkpoint_folder(at(name), 1); }
  std::vector<std::string> files_of(const std::string& name) const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(step_of(name) / shards_name))
      names.push_back(entry.path().filename().string());
    std::ranges::sort(names);
    return names;
  }

  const TemporaryFolder folder_;
};

// Large and small ones, of which some ranks have nothing, cut every way.
std::vector<TensorCase> some_tensors() {
  auto tensors = random_tensors(23, 14);
  tensors.push_back({"/model/large", {300'001, 2}, DType::f32, Cut::rows, {"/model/alias"}});
  tensors.push_back({"/model/flat", {700, 301}, DType::f32, Cut::columns_then_flat, {}});
  tensors.push_back({"/optimizer/exp_avg/large", {300'001, 2}, DType::f32, Cut::flat, {}});
  tensors.push_back({"/model/one", {7}, DType::i64, Cut::first_rank, {}});
  tensors.push_back({"/model/none", {0, 3}, DType::f32, Cut::rows, {}});
  return tensors;
}

TEST_F(SharedFiles, HoldTheSameBitsInFewerFiles) {
  const auto tensors = some_tensors();
  const auto any = [](int rank) { return rank % 2 == 0 ? all : 5000; };
  save("own", tensors, {}, 4, any);
  EXPECT_EQ(files_of("own").size(), 8u);
  const std::vector<Groups> cases = {{{0, 1, 2, 3}}, {{0, 1}, {2, 3}}, {{2, 0}, {1}, {3}}};
  for (size_t i = 0; i < cases.size(); ++i) {
    const std::string name = "shared" + std::to_string(i);
    save(name, tensors, cases[i], 4, i == 0 ? [](int) { return all; } : +any);
    EXPECT_EQ(difference(step_of(name), tensors, 1), "") << i;
    EXPECT_EQ(files_of(name).size(), 2 * cases[i].size());
    const CheckpointReader reader(step_of(name));
    reader.verify();
    EXPECT_EQ(reader.tensors().size(), CheckpointReader(step_of("own")).tensors().size());
  }
}

TEST_F(SharedFiles, GroupsNeedNotBeOfOneSize) {
  const auto tensors = some_tensors();
  save("uneven", tensors, {{0, 1}, {2}}, 3, [](int) { return all; });
  EXPECT_EQ(difference(step_of("uneven"), tensors, 1), "");
  EXPECT_THAT(files_of("uneven"), ElementsAre("rank-00000.h5", "rank-00000.moments.h5",
                                              "rank-00002.h5", "rank-00002.moments.h5"));
  const CheckpointReader reader(step_of("uneven"));
  for (const StoredShard& shard : reader.index().shards) EXPECT_NE(shard.rank, 1);
}

// A rank that cannot bring its bytes to another's file, as they are on a device that is not there.
TEST_F(SharedFiles, AGuestThatFailsEndsTheSaveOnAllRanks) {
  if (is_available(Device::cuda)) GTEST_SKIP() << "a device is there, so nothing fails";
  const std::vector<TensorCase> tensors = {{"/model/w", {90, 3}, DType::f32, Cut::rows, {}}};
  std::atomic<int> told = 0;
  run_thread_ranks(3, {}, [&](Communicator& world) {
    LocalPieces pieces(tensors, world.size(), world.rank());
    if (world.rank() == 1) pieces.sharded()[0].device = Device::cuda;
    const auto sharing = world.control().split(group_of({{0, 1, 2}}, world.rank()), "shared files");
    CheckpointWriter writer(at("failed"), world.control(), {}, sharing.get());
    writer.stage(info_of_step(1), pieces.sharded(), 0);
    const std::string error = error_of([&] { writer.write_uncopied(); });
    EXPECT_THAT(error, AllOf(HasSubstr("/model/w"), HasSubstr("rank-00000.h5"),
                             HasSubstr("(rank 1)"), HasSubstr("failed on 1 of 3 ranks")));
    ++told;
  });
  EXPECT_EQ(told, 3);
  EXPECT_FALSE(fs::exists(step_of("failed")));
}

// As where its own way to the disk is broken: little is written by the rank's thread itself.
TEST_F(SharedFiles, AGuestsFailedWriteEndsTheSaveOnAllRanks) {
  const std::vector<TensorCase> tensors = {{"/model/w", {90, 3}, DType::f32, Cut::rows, {}}};
  std::atomic<int> told = 0;
  run_thread_ranks(3, {}, [&](Communicator& world) {
    LocalPieces pieces(tensors, world.size(), world.rank());
    const auto sharing = world.control().split(group_of({{0, 1, 2}}, world.rank()), "shared files");
    CheckpointWriter writer(at("failed"), world.control(), {}, sharing.get());
    writer.stage(info_of_step(1), pieces.sharded(), all);
    writes_fail = world.rank() == 1;
    const std::string error = error_of([&] { writer.commit(); });
    writes_fail = false;
    EXPECT_THAT(error, AllOf(HasSubstr("cannot write"), HasSubstr("rank-00000.h5"),
                             HasSubstr("Input/output error"), HasSubstr("(rank 1)"),
                             HasSubstr("failed on 1 of 3 ranks")));
    ++told;
  });
  EXPECT_EQ(told, 3);
  EXPECT_FALSE(fs::exists(step_of("failed")));
}

}  // namespace
}  // namespace switchyard
