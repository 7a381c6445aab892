#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "core/files.h"
#include "launch/path/pins.h"
#include "launch/path/retention.h"
#include "tests/launch/path/saved_path.h"
#include "tests/support/temporary_folder.h"

namespace fs = std::filesystem;

namespace switchyard {
namespace {

using Pins = test::SavedPath;
using test::save;
using test::steps_of;
using testing::ElementsAre;

TEST_F(Pins, RetentionNeverDeletesAForkPoint) {
  pin(20, make_branch("branch", 20));
  test::retain(run_, {.checkpoints = 2});
  EXPECT_THAT(steps_of(run_), ElementsAre(20, 30, 40));
  test::retain(run_, {.checkpoints = 0});
  EXPECT_THAT(steps_of(run_), ElementsAre(20, 30, 40));
}

TEST_F(Pins, BranchesOfTheSameLastNameHaveAPinEach) {
  const auto a = make_branch("a/v1", 10), b = make_branch("b/v1", 10);
  make_branch("a/other", 20);
  pin(10, a);
  pin(10, b);
  fs::remove_all(a);
  test::retain(run_, {.checkpoints = 1});
  EXPECT_THAT(steps_of(run_), ElementsAre(10, 40));
  fs::remove_all(b);
  remove_pin(run_.folder(), 10, b);
  test::retain(run_, {.checkpoints = 1});
  EXPECT_THAT(steps_of(run_), ElementsAre(40));
}

TEST_F(Pins, APinThatMakesNoSenseCounts) {
  make_folder(folder_.path() / "pins");
  for (const auto& [step, text] : {std::pair(10, "../v1\n"), {20, ""}}) {
    write_file_atomically(folder_.path() / fmt::format("pins/step-{:08}--v1.pin", step), text);
  }
  make_branch("v2", 10);
  test::retain(run_, {.checkpoints = 1});
  EXPECT_THAT(steps_of(run_), ElementsAre(10, 20, 40));
}

// Without them a fork point could go although its branch is there.
TEST_F(Pins, EveryChangedByteOfAPinIsFoundAndItCounts) {
  pin(10, make_branch("v1", 10));
  const fs::path file = fs::directory_iterator(folder_.path() / "pins")->path();
  const std::string whole = read_file(file);
  EXPECT_EQ(read_pins(run_.folder()).at(0).problem, "");
  for (size_t i = 0; i < whole.size(); ++i) {
    std::string changed = whole;
    changed[i] = static_cast<char>(changed[i] ^ (1 << i % 8));
    std::ofstream(file) << changed;
    const Pin pin = read_pins(run_.folder()).at(0);
    EXPECT_TRUE(pin.counts) << changed;
    EXPECT_THAT(pin.problem, testing::HasSubstr(file.string())) << changed;
  }
}

// Its step would go else, and nobody see why.
TEST_F(Pins, APinUnderTheNameOfAnotherStepCountsForItsOwn) {
  pin(20, make_branch("v1", 20));
  const fs::path file = fs::directory_iterator(folder_.path() / "pins")->path();
  const fs::path other = folder_.path() / "pins/step-00000010--v1.pin";
  fs::rename(file, other);
  const auto pins = read_pins(run_.folder());
  ASSERT_EQ(pins.size(), 1u);
  EXPECT_EQ(pins[0].step, 20);
  EXPECT_TRUE(pins[0].counts);
  EXPECT_THAT(pins[0].problem,
              testing::AllOf(testing::HasSubstr(other.string() + " keeps step 20"),
                             testing::HasSubstr("rename it to " + file.filename().string())));
  test::retain(run_, {.checkpoints = 1});
  EXPECT_THAT(steps_of(run_), ElementsAre(20, 40));
  fs::rename(other, file);
  EXPECT_EQ(read_pins(run_.folder()).at(0).problem, "");
}

TEST_F(Pins, ABranchIsPinnedByItsOwnPinOrOneThatMayBeIts) {
  const auto v1 = make_branch("v1", 10), v2 = make_branch("v2", 10);
  const auto is_pinned = [&](const fs::path& branch) {
    return is_pinned_for(run_.folder(), 10, branch);
  };
  EXPECT_FALSE(is_pinned(v1));
  pin(10, v1);
  EXPECT_TRUE(is_pinned(v1));
  EXPECT_FALSE(is_pinned(v2));
  EXPECT_FALSE(is_pinned_for(run_.folder(), 20, v1));
  write_file_atomically(fs::directory_iterator(folder_.path() / "pins")->path(), "?");
  EXPECT_TRUE(is_pinned(v2));
}

TEST_F(Pins, PinsOfEarlierVersionsHaveNoChecksum) {
  const auto branch = make_branch("v1", 10);
  make_folder(folder_.path() / "pins");
  write_file_atomically(folder_.path() / "pins/step-00000010--v1.pin",
                        "{\"branch\":\"../v1\",\"checkpoint\":\"id\",\"branch_absolute\":\"\"}\n");
  const Pin pin = read_pins(run_.folder()).at(0);
  EXPECT_EQ(pin.problem, "");
  EXPECT_EQ(pin.branch.filename(), "v1");
}

TEST_F(Pins, PinsWithAChecksumAndWithoutAStepAreRead) {
  make_branch("v1", 10);
  make_folder(folder_.path() / "pins");
  write_file_atomically(folder_.path() / "pins/step-00000010--v1.pin",
                        "{\"branch\":\"../v1\",\"checkpoint\":\"id\",\"branch_absolute\":\"\","
                        "\"xxh3_64\":\"9eeb52758448e9a8\"}\n");
  const Pin pin = read_pins(run_.folder()).at(0);
  EXPECT_EQ(pin.problem, "");
  EXPECT_EQ(pin.step, 10);
}

TEST_F(Pins, APinCountsUntilItsBranchIsKnownToBeGone) {
  const auto branch = make_branch("branches/v1", 10);
  pin(10, branch);
  const auto counts = [&] { return read_pins(run_.folder()).at(0).counts; };
  EXPECT_TRUE(counts());
  write_file_atomically(branch / "path.json", "{");  // cannot be read
  EXPECT_TRUE(counts());
  fs::remove(branch / "path.json");  // being forked
  EXPECT_TRUE(counts());
  fs::remove_all(branch);  // its directory is empty: a file system that is not mounted?
  EXPECT_TRUE(counts());
  fs::remove_all(folder_.path() / "branches");
  EXPECT_TRUE(counts());
  make_branch("branches/v2", 20);
  EXPECT_FALSE(counts());
  make_branch("branches/v1", 20);  // another fork in its place
  EXPECT_FALSE(counts());
  make_branch("branches/v1", 10, "another path's");
  EXPECT_FALSE(counts());
  make_branch("branches/v1", 10);
  EXPECT_TRUE(counts());
  fs::rename(branch, folder_.path() / "elsewhere");
  EXPECT_TRUE(counts());
  fs::create_directory_symlink(folder_.path() / "elsewhere", branch);
  EXPECT_TRUE(counts());
  EXPECT_TRUE(fs::equivalent(read_pins(run_.folder()).at(0).branch, branch));
}

TEST_F(Pins, ALinkThatLeadsNowhereMayLeadToABranch) {
  const auto branch = make_branch("branches/v1", 10);
  pin(10, branch);
  make_branch("branches/other", 20);
  fs::create_directories(folder_.path() / "disk/far/away");
  fs::rename(branch, folder_.path() / "disk/far/away/v1");
  fs::create_directory_symlink(folder_.path() / "disk/far/away/v1", branch);
  fs::rename(folder_.path() / "disk/far/away", folder_.path() / "disk/far/unmounted");
  test::retain(run_, {.checkpoints = 1});
  EXPECT_THAT(steps_of(run_), ElementsAre(10, 40));
}

TEST_F(Pins, FragmentsThatABranchNeedsStay) {
  pin(20, make_branch("v1", 20));
  const auto needed = run_.checkpoint(20).folder, other = run_.checkpoint(30).folder;
  fs::remove(needed / "checkpoint.h5");
  fs::create_directory_symlink(other, checkpoint_folder(run_.checkpoints(), 5));
  test::retain(run_, {.checkpoints = 2});
  EXPECT_TRUE(fs::exists(needed));
  EXPECT_THAT(steps_of(run_),
              ElementsAre(20, 30, 40));  // what a link leads to is not deleted by it
}

// A branch that is made anew while its pin is searched for, as by the same fork again.
TEST_F(Pins, APinThatLeadsToItsOwnPlaceIsNotFollowedAway) {
  pin(10, make_branch("v1", 10));
  fs::rename(folder_.path() / "v1", folder_.path() / "v2");
  follow_branches(run_.folder());
  follow_branches(run_.folder());
  EXPECT_EQ(read_pins(run_.folder()).size(), 1u);
}

// Its pin follows, and counts until it is deleted there.
TEST_F(Pins, APinFollowsABranchThatIsMovedNearby) {
  for (const char* to : {"br/v2", "br/.v2", "v2", "br/deep/v1", "br2/v1", "main/v1"}) {
    const test::TemporaryFolder folder;
    const RunFolder run(folder.path() / "main");
    write_file_atomically(folder.path() / "keep", "");
    make_folder(run.folder());
    write_file_atomically(run.folder() / "path.json", "{}");
    for (const int64_t step : {10, 20, 30}) save(run, step);
    const std::string id = random_checkpoint_id();
    fs::rename(make_branch("made", 10, id), folder.path() / "made");
    make_folder(folder.path() / "br/others");
    fs::rename(folder.path() / "made", folder.path() / "br/v1");
    write_pin(run.folder(), 10, id, folder.path() / "br/v1");
    make_folder((folder.path() / to).parent_path());
    fs::rename(folder.path() / "br/v1", folder.path() / to);
    for (int i = 0; i < 2; ++i) {
      test::retain(run, {.checkpoints = 1});
      EXPECT_THAT(steps_of(run), ElementsAre(10, 30)) << to;
      const auto pins = read_pins(run.folder());
      ASSERT_EQ(pins.size(), 1u) << to;
      EXPECT_TRUE(fs::equivalent(pins[0].branch, folder.path() / to)) << to;
      EXPECT_FALSE(pins[0].moved) << to;
    }
    fs::remove_all(folder.path() / to);
    write_file_atomically((folder.path() / to).parent_path() / "other", "");
    test::retain(run, {.checkpoints = 1});
    EXPECT_THAT(steps_of(run), ElementsAre(30)) << to;
  }
}

TEST_F(Pins, EveryRenamedBranchOfAForkPointKeepsIt) {
  for (const char* name : {"1", "2"}) {
    pin(10, make_branch(fmt::format("br/v{}", name), 10));
    fs::rename(folder_.path() / fmt::format("br/v{}", name),
               folder_.path() / fmt::format("br/w{}", name));
  }
  pin(20, make_branch("br/gone", 20));
  fs::rename(folder_.path() / "br/gone", folder_.path() / "br/w3");
  make_branch("br/w3", 20, "another path's");
  auto mean = RunFolder(folder_.path() / "br/w1").read();
  mean.kind = "average";  // needs no fork point, though it has its path's lineage
  mean.lineage.back().step = 20;
  RunFolder(folder_.path() / "br/mean").write(mean);
  test::retain(run_, {.checkpoints = 1});
  EXPECT_THAT(steps_of(run_), ElementsAre(10, 40));
  fs::remove_all(folder_.path() / "br/w1");
  test::retain(run_, {.checkpoints = 1});
  EXPECT_THAT(steps_of(run_), ElementsAre(10, 40));
  fs::remove_all(folder_.path() / "br/w2");
  test::retain(run_, {.checkpoints = 1});
  EXPECT_THAT(steps_of(run_), ElementsAre(40));
}

TEST_F(Pins, WhatCannotBeReadWhereABranchLayMayBeIt) {
  pin(10, make_branch("br/v1", 10));
  fs::rename(folder_.path() / "br/v1", folder_.path() / "br/v2");
  write_file_atomically(folder_.path() / "br/v2/path.json", "{");
  test::retain(run_, {.checkpoints = 1});
  EXPECT_THAT(steps_of(run_), ElementsAre(10, 40));
}

// A run that moved to another disk, whose old directory still has the branch.
TEST_F(Pins, APinFindsItsBranchWhenTheRunMovedAway) {
  const test::TemporaryFolder disk;
  write_pin(run_.folder(), 10, "id",
            make_branch("../beside-" + folder_.path().filename().string(), 10));
  const fs::path branch =
      folder_.path().string() + "/../beside-" + folder_.path().filename().string();
  make_folder(disk.path() / "a/full");
  fs::rename(folder_.path(), disk.path() / "a/main");
  const RunFolder moved(disk.path() / "a/main");
  test::retain(moved, {.checkpoints = 1});
  EXPECT_THAT(steps_of(moved), ElementsAre(10, 40));
  fs::rename(disk.path() / "a/main", folder_.path());
  fs::remove_all(branch);
}

}  // namespace
}  // namespace switchyard
