#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "core/files.h"
#include "parallel/checkpoint/moments.h"
#include "parallel/checkpoint/state_groups.h"
#include "tests/parallel/checkpoint/checkpoint_cases.h"
#include "tests/support/temporary_folder.h"

// Checkpoints whose moments are taken away, whole or cut short.
namespace switchyard {
namespace {

using namespace test;
using testing::ElementsAre;
using testing::HasSubstr;
namespace fs = std::filesystem;

std::vector<TensorCase> weights() {
  return {{"/model/b", {70}, DType::bf16, Cut::flat, {}},
          {"/model/w", {30, 20}, DType::bf16, Cut::columns, {}},
          {"/optimizer/counters", {4}, DType::i64, Cut::first_rank, {}},
          {"/optimizer/master/b", {70}, DType::f32, Cut::flat, {}},
          {"/optimizer/master/w", {30, 20}, DType::f32, Cut::flat, {}}};
}

std::vector<TensorCase> all() {
  auto tensors = weights();
  for (const char* group : {"exp_avg", "exp_avg_sq"}) {
    tensors.push_back({fmt::format("/optimizer/{}/b", group), {70}, DType::f32, Cut::flat, {}});
    tensors.push_back({fmt::format("/optimizer/{}/w", group), {30, 20}, DType::f32, Cut::flat, {}});
  }
  return tensors;
}

class Moments : public testing::Test {
 protected:
  Moments() { save(folder_.path(), 3, all(), 3); }
  fs::path step() const { return checkpoint_folder(folder_.path(), 3); }
  std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto& file : fs::directory_iterator(step() / "shards"))
      names.push_back(file.path().filename());
    std::ranges::sort(names);
    return names;
  }
  // What drop_moments has done when it comes to the master's rename, or is behind it.
  void replace_the_master_alone() const {
    const TemporaryFolder aside;
    fs::copy(step(), aside.path() / "step-00000003", fs::copy_options::recursive);
    drop_moments(aside.path() / "step-00000003");
    fs::copy_file(aside.path() / "step-00000003/checkpoint.h5", step() / "checkpoint.h5",
                  fs::copy_options::overwrite_existing);
  }
  void expect_whole() const {
    EXPECT_EQ(moments_of(step()), StoredMoments::own_files);
    EXPECT_EQ(difference(step(), all(), 3), "");
    EXPECT_NO_THROW(CheckpointReader(step()).verify());
  }
  void expect_momentless() const {
    EXPECT_EQ(moments_of(step()), StoredMoments::none);
    EXPECT_EQ(difference(step(), weights(), 3), "");
    const CheckpointReader reader(step());
    EXPECT_NO_THROW(reader.verify());
    EXPECT_EQ(reader.tensors().size(), weights().size());
    EXPECT_FALSE(has_group(reader, groups::exp_avg));
  }
  TemporaryFolder folder_;
};

TEST_F(Moments, LieInFilesOfTheirOwn) {
  EXPECT_THAT(files(),
              ElementsAre("rank-00000.h5", "rank-00000.moments.h5", "rank-00001.h5",
                          "rank-00001.moments.h5", "rank-00002.h5", "rank-00002.moments.h5"));
  expect_whole();
  EXPECT_EQ(CheckpointReader(step()).info().format_version, 2);
}

TEST_F(Moments, GoAndLeaveTheSameCheckpoint) {
  const CheckpointInfo before = CheckpointReader(step()).info();
  const int64_t bytes = moment_bytes(step());
  EXPECT_GT(bytes, 8 * (70 + 600));
  drop_moments(step());
  expect_momentless();
  EXPECT_THAT(files(), ElementsAre("rank-00000.h5", "rank-00001.h5", "rank-00002.h5"));
  EXPECT_EQ(moment_bytes(step()), 0);
  const CheckpointInfo after = CheckpointReader(step()).info();
  EXPECT_EQ(after.id, before.id);
  EXPECT_EQ(after.loss, before.loss);
  EXPECT_EQ(after.documents, before.documents);
  drop_moments(step());
  expect_momentless();
}

TEST_F(Moments, AKillBeforeTheNewMasterLeavesTheWholeCheckpoint) {
  write_file_atomically(step() / "half", "half a master");
  fs::rename(step() / "half", step() / "checkpoint.h5.tmp");
  expect_whole();
  drop_moments(step());
  expect_momentless();
  EXPECT_FALSE(fs::exists(step() / "checkpoint.h5.tmp"));
}

TEST_F(Moments, AKillBehindTheNewMasterLeavesFilesThatGoTheNextTime) {
  replace_the_master_alone();
  expect_momentless();
  fs::remove(step() / "shards/rank-00001.moments.h5");  // killed between two files
  expect_momentless();
  EXPECT_GT(moment_bytes(step()), 0);
  remove_left_moments(step());
  EXPECT_EQ(moment_bytes(step()), 0);
  expect_momentless();
}

TEST_F(Moments, OfAWholeCheckpointAreNotLeftOnes) {
  remove_left_moments(step());
  expect_whole();
}

TEST_F(Moments, MayGoWhileAReaderIsOpen) {
  const CheckpointReader reader(step());
  drop_moments(step());
  EXPECT_NO_THROW(reader.verify());
  EXPECT_NO_THROW(reader.verify(2, 5));
  std::vector<std::byte> got(70 * 4);
  reader.read("/optimizer/master/b", Box::whole({70}), got.data());
  EXPECT_EQ(got, expected_bytes(weights()[3], Box::whole({70}), 3));
}

TEST_F(Moments, AMissingFileOfThemIsDamageUnlessTheMasterListsNone) {
  const CheckpointReader reader(step());
  fs::remove(step() / "shards/rank-00002.moments.h5");
  EXPECT_THAT(error_of([&] { reader.verify(); }), HasSubstr("rank-00002.moments.h5"));
  EXPECT_THAT(error_of([&] { CheckpointReader{step()}; }), HasSubstr("rank-00002.moments.h5"));
}

}  // namespace
}  // namespace switchyard
