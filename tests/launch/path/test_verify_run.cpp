#include "launch/path/verify_run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <random>

#include "tests/parallel/checkpoint/checkpoint_cases.h"
#include "tests/parallel/checkpoint/newer_checkpoint.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {
namespace {

using namespace test;
namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

class VerifyRun : public testing::Test {
 protected:
  VerifyRun() {
    for (const int64_t step : {4, 8}) save(run() / "checkpoints", step, tensors_, 3);
  }
  fs::path run() const { return folder_.path() / "run"; }
  fs::path step(int64_t number) const { return checkpoint_folder(run() / "checkpoints", number); }
  VerifiedStep verified(int64_t number) const { return verify_run({run(), number}).steps.at(0); }
  std::vector<fs::path> files(int64_t number) const {
    std::vector<fs::path> all;
    for (const auto& entry : fs::recursive_directory_iterator(step(number)))
      if (entry.is_regular_file()) all.push_back(entry.path());
    return all;
  }

  TemporaryFolder folder_;
  std::vector<TensorCase> tensors_ = {
      {"/model/w", {64, 100}, DType::f32, Cut::flat, {"/optimizer/master/w"}},
      {"/model/b", {333}, DType::bf16, Cut::flat, {}},
      {"/optimizer/exp_avg/w", {64, 100}, DType::f32, Cut::columns, {}}};
};

TEST_F(VerifyRun, SaysWhatWasRead) {
  const VerifiedStep good = verified(4);
  EXPECT_EQ(good.problem, "");
  EXPECT_EQ(good.tensors, 4);  // by all their names
  EXPECT_EQ(good.files, static_cast<int64_t>(files(4).size()));
  EXPECT_EQ(good.id.size(), 32u);
  EXPECT_TRUE(verify_run({run(), 4}).ok());
  EXPECT_NE(error_of([&] { verify_run({run(), 5}); }), "");
  EXPECT_THAT(error_of([&] { verify_run({folder_.path() / "none", {}}); }), HasSubstr("no path"));
}

TEST_F(VerifyRun, OneDamagedStepLeavesTheOthersRead) {
  fs::remove(step(4) / "shards" / "rank-00001.h5");
  const VerifiedRun all = verify_run({run(), {}});
  ASSERT_EQ(all.steps.size(), 2u);
  EXPECT_THAT(all.steps[0].problem, HasSubstr("rank-00001.h5"));
  EXPECT_EQ(all.steps[1].problem, "");
  EXPECT_FALSE(all.ok());
  EXPECT_EQ(all.code(), ExitCode::storage);
}

TEST_F(VerifyRun, ASaveThatDidNotEndIsNoDamage) {
  fs::create_directories(step(12) / "shards");
  const VerifiedRun all = verify_run({run(), {}});
  EXPECT_EQ(all.steps.size(), 2u);
  EXPECT_THAT(all.notes, testing::Contains(HasSubstr("step-00000012")));
}

TEST_F(VerifyRun, AStepUnderAnothersNameIsFound) {
  fs::remove_all(step(4));
  fs::rename(step(8), step(4));
  EXPECT_THAT(verified(4).problem, HasSubstr("holds step 8, which was saved under another name"));
}

TEST_F(VerifyRun, AStepOfANewerFormatIsNotCalledDamaged) {
  set_format_version(step(8), 9);
  const VerifiedStep newer = verified(8);
  EXPECT_TRUE(newer.is_newer);
  EXPECT_THAT(newer.problem, AllOf(HasSubstr(step(8).string()), HasSubstr("newer format version 9"),
                                   HasSubstr("reads the versions 1 to 3")));
  EXPECT_EQ(verify_run({run(), 8}).code(), ExitCode::usage);
  flip_bit(step(8) / "checkpoint.h5", 1000, 0);  // damage is damage, whatever the version says
  EXPECT_FALSE(verified(8).is_newer);
  EXPECT_EQ(verify_run({run(), 8}).code(), ExitCode::storage);
}

// A bit at 200 random places of each kind of file.
TEST_F(VerifyRun, AFlippedBitAnywhereIsFoundAndItsFileNamed) {
  std::mt19937_64 random(20261130);
  for (const fs::path& file : files(8)) {
    const auto bytes = static_cast<int64_t>(fs::file_size(file));
    for (int i = 0; i < 200; ++i) {
      const auto place = static_cast<int64_t>(random() % static_cast<uint64_t>(bytes));
      const int bit = static_cast<int>(random() % 8);
      flip_bit(file, place, bit);
      const VerifiedStep step = verified(8);
      EXPECT_THAT(step.problem, HasSubstr(file.filename().string()))
          << "bit " << bit << " of byte " << place << " of " << bytes;
      flip_bit(file, place, bit);
    }
  }
  EXPECT_EQ(verified(8).problem, "");
}

}  // namespace
}  // namespace switchyard
