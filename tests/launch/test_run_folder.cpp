#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/error.h"
#include "core/files.h"
#include "launch/path/average.h"
#include "launch/path/fork_point.h"
#include "launch/path/path_state.h"
#include "launch/path/path_tree.h"
#include "launch/path/pins.h"
#include "launch/path/relative_name.h"
#include "launch/path/retention.h"
#include "launch/path/run_folder.h"
#include "tests/support/temporary_folder.h"

namespace fs = std::filesystem;

namespace switchyard {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

void save(const RunFolder& run, int64_t step) {
  CheckpointInfo info;
  info.id = random_checkpoint_id();
  info.step = step;
  CheckpointStreamWriter writer(run.checkpoints(), info);
  const float value = static_cast<float>(step);
  writer.add({"/model/x", {1}, DType::f32}, &value);
  writer.finish();
}

std::vector<int64_t> steps_of(const RunFolder& run) {
  std::vector<int64_t> steps;
  for (const auto& entry : list_checkpoints(run.checkpoints())) steps.push_back(entry.step);
  return steps;
}

class RunFolderTest : public testing::Test {
 protected:
  fs::path make_branch(const std::string& name, int64_t step, const std::string& id = "id") {
    PathSpecification path;
    path.model = preset("gpt2-tiny");
    path.settings.set_text("seq-length", "16");
    path.settings.set_text("seed", "1234");
    path.stages = {{0, {{"set", 1.0, ""}}}};
    path.lineage = {{"..", id, step, 8 * step}};
    RunFolder(folder_.path() / name).write(path);
    return folder_.path() / name;
  }
  void pin(int64_t step, const fs::path& branch) { write_pin(run_.folder(), step, "id", branch); }
  void SetUp() override {
    write_file_atomically(folder_.path() / "path.json", "{}");
    for (const int64_t step : {10, 20, 30, 40}) save(run_, step);
  }
  test::TemporaryFolder folder_;
  RunFolder run_{folder_.path()};
};

TEST(RunReference, SplitsAtTheLastSign) {
  EXPECT_EQ(parse_run_reference("runs/main@120").step, 120);
  EXPECT_EQ(parse_run_reference("a@b@3").folder, "a@b");
  EXPECT_FALSE(parse_run_reference("main").step.has_value());
  EXPECT_THROW(parse_run_reference("main@x"), Error);
  EXPECT_THROW(parse_run_reference("main@-1"), Error);
  EXPECT_EQ(parse_run_reference("me@host/main").folder, "me@host/main");
  EXPECT_EQ(parse_run_reference("me@host/main@3").folder, "me@host/main");
  EXPECT_EQ(parse_run_reference("runs/main/@3").step, 3);
}

TEST(RunReference, MeansNoNewFolder) {
  for (const char* name :
       {"main@2", "runs/main@2", "a@b", "main@2/", "main@2//", "x/../main@2/."}) {
    EXPECT_THROW(RunFolder(name).check_name(), Error) << name;
  }
  for (const char* name : {"main", "me@host/main", "me@host/main/", "main.2"}) {
    EXPECT_NO_THROW(RunFolder(name).check_name()) << name;
  }
}

TEST_F(RunFolderTest, NamesTheNearestSavedStep) {
  EXPECT_EQ(run_.checkpoint(std::nullopt).step, 40);
  EXPECT_EQ(run_.checkpoint(20).step, 20);
  try {
    run_.checkpoint(28);
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("nearest saved step is 30"));
  }
}

TEST_F(RunFolderTest, RetentionNeverDeletesAForkPoint) {
  pin(20, make_branch("branch", 20));
  retain_latest(run_, 2);
  EXPECT_THAT(steps_of(run_), ElementsAre(20, 30, 40));
  retain_latest(run_, 0);
  EXPECT_THAT(steps_of(run_), ElementsAre(20, 30, 40));
}

TEST_F(RunFolderTest, BranchesOfTheSameLastNameHaveAPinEach) {
  const auto a = make_branch("a/v1", 10), b = make_branch("b/v1", 10);
  make_branch("a/other", 20);
  pin(10, a);
  pin(10, b);
  fs::remove_all(a);
  retain_latest(run_, 1);
  EXPECT_THAT(steps_of(run_), ElementsAre(10, 40));
  fs::remove_all(b);
  remove_pin(run_.folder(), 10, b);
  retain_latest(run_, 1);
  EXPECT_THAT(steps_of(run_), ElementsAre(40));
}

TEST_F(RunFolderTest, PinsOfEarlierVersionsCount) {
  for (const auto& [name, step] : {std::pair("kept", 10), {"gone", 20}}) {
    const auto file = fmt::format("pins/step-{:08}--{}.pin", step, name);
    make_folder(folder_.path() / "pins");
    write_file_atomically(folder_.path() / file, std::string("../branches/") + name + "\n");
  }
  make_branch("branches/kept", 10);
  retain_latest(run_, 1);
  EXPECT_THAT(steps_of(run_), ElementsAre(10, 40));
}

TEST_F(RunFolderTest, APinCountsUntilItsBranchIsKnownToBeGone) {
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

TEST_F(RunFolderTest, ALinkThatLeadsNowhereMayLeadToABranch) {
  const auto branch = make_branch("branches/v1", 10);
  pin(10, branch);
  make_branch("branches/other", 20);
  fs::create_directories(folder_.path() / "disk/far/away");
  fs::rename(branch, folder_.path() / "disk/far/away/v1");
  fs::create_directory_symlink(folder_.path() / "disk/far/away/v1", branch);
  fs::rename(folder_.path() / "disk/far/away", folder_.path() / "disk/far/unmounted");
  retain_latest(run_, 1);
  EXPECT_THAT(steps_of(run_), ElementsAre(10, 40));
}

TEST_F(RunFolderTest, FragmentsOfADeletionGoWithTheNextOne) {
  fs::remove(run_.checkpoint(20).folder / "checkpoint.h5");
  retain_latest(run_, 3);
  EXPECT_THAT(steps_of(run_), ElementsAre(10, 30, 40));
  EXPECT_FALSE(fs::exists(checkpoint_folder(run_.checkpoints(), 20)));
}

TEST_F(RunFolderTest, FragmentsThatABranchNeedsStay) {
  pin(20, make_branch("v1", 20));
  const auto needed = run_.checkpoint(20).folder, other = run_.checkpoint(30).folder;
  fs::remove(needed / "checkpoint.h5");
  fs::create_directory_symlink(other, checkpoint_folder(run_.checkpoints(), 5));
  retain_latest(run_, 2);
  EXPECT_TRUE(fs::exists(needed));
  EXPECT_THAT(steps_of(run_),
              ElementsAre(20, 30, 40));  // what a link leads to is not deleted by it
}

// A branch that is made anew while its pin is searched for, as by the same fork again.
TEST_F(RunFolderTest, APinThatLeadsToItsOwnPlaceIsNotFollowedAway) {
  pin(10, make_branch("v1", 10));
  fs::rename(folder_.path() / "v1", folder_.path() / "v2");
  follow_branches(run_.folder());
  follow_branches(run_.folder());
  EXPECT_EQ(read_pins(run_.folder()).size(), 1u);
}

TEST_F(RunFolderTest, ANewFolderIsNotWithinWhatAPathKeeps) {
  for (const char* name : {"checkpoints/step-00000050", "discarded", "pins/deep/v"})
    EXPECT_THROW(RunFolder(run_.folder() / name).check_name(), Error) << name;
  EXPECT_NO_THROW(RunFolder(run_.folder() / "v1").check_name());
  EXPECT_THROW(RunFolder(folder_.path() / "caf\xe9").check_name(), Error);
}

// Its pin follows, and counts until it is deleted there.
TEST_F(RunFolderTest, APinFollowsABranchThatIsMovedNearby) {
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
      retain_latest(run, 1);
      EXPECT_THAT(steps_of(run), ElementsAre(10, 30)) << to;
      const auto pins = read_pins(run.folder());
      ASSERT_EQ(pins.size(), 1u) << to;
      EXPECT_TRUE(fs::equivalent(pins[0].branch, folder.path() / to)) << to;
      EXPECT_FALSE(pins[0].moved) << to;
    }
    fs::remove_all(folder.path() / to);
    write_file_atomically((folder.path() / to).parent_path() / "other", "");
    retain_latest(run, 1);
    EXPECT_THAT(steps_of(run), ElementsAre(30)) << to;
  }
}

TEST_F(RunFolderTest, EveryRenamedBranchOfAForkPointKeepsIt) {
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
  retain_latest(run_, 1);
  EXPECT_THAT(steps_of(run_), ElementsAre(10, 40));
  fs::remove_all(folder_.path() / "br/w1");
  retain_latest(run_, 1);
  EXPECT_THAT(steps_of(run_), ElementsAre(10, 40));
  fs::remove_all(folder_.path() / "br/w2");
  retain_latest(run_, 1);
  EXPECT_THAT(steps_of(run_), ElementsAre(40));
}

TEST_F(RunFolderTest, WhatCannotBeReadWhereABranchLayMayBeIt) {
  pin(10, make_branch("br/v1", 10));
  fs::rename(folder_.path() / "br/v1", folder_.path() / "br/v2");
  write_file_atomically(folder_.path() / "br/v2/path.json", "{");
  retain_latest(run_, 1);
  EXPECT_THAT(steps_of(run_), ElementsAre(10, 40));
}

TEST_F(RunFolderTest, AMovedBranchFindsItsMovedParentByTheCheckpoint) {
  const test::TemporaryFolder top;
  const std::string id = CheckpointReader(run_.checkpoint(20).folder).info().id;
  make_folder(top.path() / "moved/deep");
  fs::rename(make_branch("v1", 20, id), top.path() / "moved/deep/v1");
  for (const int64_t step : {10, 20}) save(RunFolder(top.path() / "other"), step);
  write_file_atomically(top.path() / "other/path.json", "{}");
  fs::rename(folder_.path(), top.path() / "moved/main");
  const RunFolder branch(top.path() / "moved/deep/v1");
  auto fork = branch.read().lineage.back();
  fork.path = "../../../other";
  const auto point = find_fork_point(branch, fork);
  EXPECT_TRUE(fs::equivalent(point.parent.folder(), top.path() / "moved/main"));
  fork.checkpoint = "no such";
  EXPECT_THROW(find_fork_point(branch, fork), Error);
  fs::rename(top.path() / "moved/main", folder_.path());
}

// A run that moved to another disk, whose old directory still has the branch.
TEST_F(RunFolderTest, APinFindsItsBranchWhenTheRunMovedAway) {
  const test::TemporaryFolder disk;
  write_pin(run_.folder(), 10, "id",
            make_branch("../beside-" + folder_.path().filename().string(), 10));
  const fs::path branch =
      folder_.path().string() + "/../beside-" + folder_.path().filename().string();
  make_folder(disk.path() / "a/full");
  fs::rename(folder_.path(), disk.path() / "a/main");
  const RunFolder moved(disk.path() / "a/main");
  retain_latest(moved, 1);
  EXPECT_THAT(steps_of(moved), ElementsAre(10, 40));
  fs::rename(disk.path() / "a/main", folder_.path());
  fs::remove_all(branch);
}

TEST_F(RunFolderTest, IsUntrainedUntilAStepIsLoggedSavedOrPinned) {
  EXPECT_FALSE(is_untrained(run_));
  fs::remove_all(run_.checkpoints());
  EXPECT_TRUE(is_untrained(run_));
  write_file_atomically(folder_.path() / "metrics.jsonl", "");
  EXPECT_TRUE(is_untrained(run_));
  write_file_atomically(folder_.path() / "metrics.discarded.jsonl", "{\"step\": 1}\n");
  EXPECT_FALSE(is_untrained(run_));
}

TEST_F(RunFolderTest, GoingBackMovesLaterStepsAsideButNoForkPoint) {
  pin(30, make_branch("branch", 30));
  EXPECT_THROW(discard_behind(run_, 20), Error);
  EXPECT_THAT(steps_of(run_), ElementsAre(10, 20, 30, 40));
  discard_behind(run_, 30);
  EXPECT_THAT(steps_of(run_), ElementsAre(10, 20, 30));
  EXPECT_TRUE(std::filesystem::exists(folder_.path() / "discarded/step-00000040/checkpoint.h5"));
}

TEST_F(RunFolderTest, FindsTheNewestGoodStep) {
  const auto shards = checkpoint_folder(run_.checkpoints(), 30) / "shards";
  for (const auto& shard : std::filesystem::directory_iterator(shards)) {
    std::filesystem::resize_file(shard.path(), 100);
  }
  EXPECT_EQ(run_.newest_good_below(40), 20);
  EXPECT_EQ(run_.newest_good_below(10), std::nullopt);
}

TEST_F(RunFolderTest, TheLockDiesWithItsProcess) {
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t child = fork();
  if (child == 0) {
    const PathLock lock(run_);
    if (write(ready[1], "x", 1) != 1) _exit(1);
    pause();
  }
  char byte = 0;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  try {
    const PathLock second(run_);
    FAIL() << "a second lock was given";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr(std::to_string(child)));
  }
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_NO_THROW(PathLock{run_});
}

// Wherever a link lies between the common ancestor and either folder, before or after the fork.
TEST(RelativeName, FindsAFolderThroughLinks) {
  const test::TemporaryFolder folder;
  const fs::path top = folder.path();
  for (const char* name : {"runs/main", "runs/v1", "disk/main", "disk/deep/v1"}) {
    fs::create_directories(top / name);
  }
  fs::create_directory_symlink(top / "disk/main", top / "runs/main-link");
  fs::create_directory_symlink(top / "disk/deep/v1", top / "runs/v1-link");
  fs::create_directory_symlink(top / "runs", top / "link");
  const auto finds = [](const RelativeName& name, const fs::path& from, const fs::path& to) {
    return std::ranges::any_of(places(name, from), [&](const fs::path& place) {
      std::error_code none;
      return fs::equivalent(place, to, none);
    });
  };
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const char* to : {"main", "main/", "main-link"}) {
    for (const char* from : {"v1", "v1/", "v1-link", "v1-link/"}) pairs.emplace_back(to, from);
  }
  std::vector<RelativeName> names;
  for (const auto& [to, from] : pairs) {
    for (const char* above : {"runs", "link"}) {
      const auto name = relative_name(top / above / to, top / "runs" / from);
      EXPECT_TRUE(finds(name, top / "runs" / from, top / "runs" / to)) << to << " of " << from;
      EXPECT_TRUE(finds(name, top / "link" / from, top / "runs" / to)) << to << " of " << from;
      EXPECT_TRUE(finds(name, fs::canonical(top / "runs" / from), top / "runs" / to))
          << to << " of " << from;
    }
    names.push_back(relative_name(top / "runs" / to, top / "runs" / from));
  }
  fs::rename(top / "runs", top / "disk/moved");  // with the links in it
  for (size_t i = 0; i < pairs.size(); ++i) {
    const auto& [to, from] = pairs[i];
    const fs::path moved = top / "disk/moved";
    EXPECT_TRUE(finds(names[i], moved / from, moved / to)) << to << " of " << from;
  }
}

// Whatever the working directory, and when the source was renamed.
TEST_F(RunFolderTest, AnAverageFindsItsSourceByPlaceAndCheckpoint) {
  const test::TemporaryFolder top;
  fs::rename(make_branch("main", 5), top.path() / "main");
  for (const int64_t step : {10, 20}) save(RunFolder(top.path() / "main"), step);
  const fs::path before = fs::current_path();
  fs::current_path(top.path());
  average("main", {10, 20}, "mean", nullptr);
  fs::current_path(before);
  const RunFolder mean(top.path() / "mean");
  const CheckpointReader checkpoint(mean.checkpoint(std::nullopt).folder);
  for (const char* name : {"main", "renamed"}) {
    if (!fs::exists(top.path() / name)) fs::rename(top.path() / "main", top.path() / name);
    const auto source = source_of_average(mean, checkpoint);
    EXPECT_TRUE(fs::equivalent(source.run, top.path() / name)) << source.run;
    EXPECT_THAT(source.steps, ElementsAre(10, 20));
  }
}

TEST_F(RunFolderTest, ABranchIsListedBelowItsRenamedParent) {
  const test::TemporaryFolder top;
  fs::rename(make_branch("main", 5), top.path() / "main");
  const RunFolder main(top.path() / "main"), branch(top.path() / "deep/v1");
  save(main, 10);
  const std::string id = CheckpointReader(main.checkpoint(10).folder).info().id;
  auto path = main.read();
  path.lineage = {{.path = "../../main", .checkpoint = id, .step = 10, .samples = 20}};
  make_folder(branch.folder());
  branch.write(path);
  fs::rename(top.path() / "main", top.path() / "renamed");
  const auto all = list_paths(top.path());
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].folder.filename(), "renamed");
  EXPECT_EQ(all[1].parent, 0u);
}

TEST(AverageSteps, MeetTheirEnd) {
  EXPECT_THAT(parse_steps("10:30:10"), ElementsAre(10, 20, 30));
  EXPECT_THAT(parse_steps("10:10:1"), ElementsAre(10));
  for (const char* bad : {"10:30", "30:10:10", "10:35:10", "a:b:c", "10:30:0", "10:30:10:5", ""}) {
    EXPECT_THROW(parse_steps(bad), Error) << bad;
  }
}

}  // namespace
}  // namespace switchyard
