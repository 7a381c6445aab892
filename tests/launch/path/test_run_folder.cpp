#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/error.h"
#include "core/files.h"
#include "launch/path/average.h"
#include "launch/path/fork_point.h"
#include "launch/path/path_lock.h"
#include "launch/path/path_state.h"
#include "launch/path/path_tree.h"
#include "launch/path/relative_name.h"
#include "launch/path/retention.h"
#include "launch/path/run_folder.h"
#include "tests/launch/path/saved_path.h"
#include "tests/support/temporary_folder.h"

namespace fs = std::filesystem;

namespace switchyard {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

using RunFolderTest = test::SavedPath;
using test::save;
using test::steps_of;

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

TEST_F(RunFolderTest, FragmentsOfADeletionGoWithTheNextOne) {
  fs::remove(run_.checkpoint(20).folder / "checkpoint.h5");
  test::retain(run_, {.checkpoints = 3});
  EXPECT_THAT(steps_of(run_), ElementsAre(10, 30, 40));
  EXPECT_FALSE(fs::exists(checkpoint_folder(run_.checkpoints(), 20)));
}

TEST_F(RunFolderTest, ANewFolderIsNotWithinWhatAPathKeeps) {
  for (const char* name : {"checkpoints/step-00000050", "discarded", "pins/deep/v"})
    EXPECT_THROW(RunFolder(run_.folder() / name).check_name(), Error) << name;
  EXPECT_NO_THROW(RunFolder(run_.folder() / "v1").check_name());
  EXPECT_THROW(RunFolder(folder_.path() / "caf\xe9").check_name(), Error);
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

TEST(RelativeName, IsShownAsSeenFromHere) {
  EXPECT_EQ(place_as_named({"../main", ""}, "runs/v1"), "runs/main");
  EXPECT_EQ(place_as_named({"../main", ""}, "v1/"), "main");
  EXPECT_EQ(place_as_named({"../main", ""}, "."), "../main");
  EXPECT_EQ(place_as_named({"../../disk/main", "../../r/main"}, "runs/v1"), "r/main");
  EXPECT_EQ(place_as_named({"../main", ""}, "/top/v1"), "/top/main");
}

// Whatever the working directory, and when the source was renamed.
TEST_F(RunFolderTest, AnAverageFindsItsSourceByPlaceAndCheckpoint) {
  const test::TemporaryFolder top;
  fs::rename(make_branch("main", 5), top.path() / "main");
  for (const int64_t step : {10, 20}) save(RunFolder(top.path() / "main"), step);
  const fs::path before = fs::current_path();
  fs::current_path(top.path());
  average({.members = members_of("main", {10, 20}), .output = "mean"});
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
  EXPECT_THAT(parse_steps("10,25,40"), ElementsAre(10, 25, 40));
  EXPECT_THAT(parse_steps("0:20:10"), ElementsAre(0, 10, 20));  // of published weights
  EXPECT_THAT(parse_steps("0,10"), ElementsAre(0, 10));
  for (const char* bad : {"10:30", "30:10:10", "10:35:10", "a:b:c", "10:30:0", "10:30:10:5", "",
                          "10,5", "10,10", "-1,10", "10,", "-10:10:10"}) {
    EXPECT_THROW(parse_steps(bad), Error) << bad;
  }
}

std::string refusal_of_new_path(const fs::path& folder) {
  try {
    RunFolder(folder).check_unused();
    return "";
  } catch (const Error& error) {
    return error.what();
  }
}

TEST(NewPath, FoldersOfOtherThingsAreRefused) {
  const test::TemporaryFolder folder;
  const auto refused = [&](const std::vector<std::string>& names) {
    const fs::path run = folder.path() / "run";
    fs::remove_all(run);
    for (const std::string& name : names) make_folder(run / name);
    const std::string said = refusal_of_new_path(run);
    return said.substr(0, said.find(';'));
  };
  EXPECT_THAT(refused({".git", "src"}), HasSubstr("holds .git, as a checkout does"));
  EXPECT_THAT(refused({".ssh"}), HasSubstr("holds .ssh, as a home folder does"));
  EXPECT_THAT(refused({"bin", "lib"}), HasSubstr("holds bin and lib, as an installation does"));
  EXPECT_THAT(refused({"config.json", "model.safetensors"}), HasSubstr("a published model"));
  EXPECT_THAT(refused({"config.json", "model-00001-of-00002.safetensors"}),
              HasSubstr("holds config.json and model-00001-of-00002.safetensors"));
  EXPECT_THAT(refused({"checkpoints/iter_0000100", "latest_checkpointed_iteration.txt"}),
              HasSubstr("Megatron's checkpoints"));
  EXPECT_THAT(refused({"main/path.json"}), HasSubstr("is a folder of paths: it holds 'main'"));
  EXPECT_THAT(refusal_of_new_path("/"), HasSubstr("is the root of the file system"));
  EXPECT_THAT(refusal_of_new_path("/proc/.."), HasSubstr("is the root of the file system"));
  for (const char* name : {"/tmp", "/etc/", "/usr/../home"})
    EXPECT_THAT(refusal_of_new_path(name), HasSubstr("is a folder of the system")) << name;
}

// What cannot be looked into is not the root for it.
TEST(NewPath, ALinkToItselfIsNotTheRoot) {
  const test::TemporaryFolder folder;
  fs::create_symlink("run", folder.path() / "run");
  EXPECT_EQ(refusal_of_new_path(folder.path() / "run"), "");
}

TEST(NewPath, AFolderDeeperThanTheSystemNamesIsRefusedAsSuch) {
  const test::TemporaryFolder folder;
  const fs::path before = fs::current_path();
  size_t bytes = folder.path().string().size() + 4;
  for (fs::current_path(folder.path()); bytes < 4096; bytes += 201) {
    fs::create_directory(std::string(200, 'd'));
    fs::current_path(std::string(200, 'd'));
  }
  EXPECT_EQ(refusal_of_new_path("run"), "");
  try {
    RunFolder("run").check_name();
    ADD_FAILURE() << "a name of " << bytes << " bytes was taken";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr(fmt::format("[path] 'run' has {} bytes", bytes)));
    EXPECT_THAT(error.what(), HasSubstr("the system takes 4095"));
  }
  fs::current_path(before);
}

// Put there by hand, by a batch system, or by a start that did no step.
TEST(NewPath, WhatGoesWithARunMayBeThereBefore) {
  const test::TemporaryFolder folder;
  EXPECT_EQ(refusal_of_new_path(folder.path() / "none"), "");
  EXPECT_EQ(refusal_of_new_path(folder.path()), "");
  for (const char* file :
       {"slurm-17.out", "job.err", "train.log", "options.toml", "config.json", "run.sh", "notes.md",
        "text.bin", "text.idx", "text.json", "lost+found", ".nfs0001", "events.out.tfevents.1"}) {
    write_file_atomically(folder.path() / file, "x");
  }
  for (const char* name : {"faults", "tensorboard", "slurm", "logs", "data", "checkpoints", "wandb",
                           "bin", "discarded", "pins", ".hydra"}) {
    make_folder(folder.path() / name);
  }
  EXPECT_EQ(refusal_of_new_path(folder.path()), "");
}

}  // namespace
}  // namespace switchyard
