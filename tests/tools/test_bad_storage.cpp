// Checkpoints that are damaged, and a disk that is full.
#include <gmock/gmock.h>

#include <fstream>

#include "tests/support/own_disk.h"
#include "tests/tools/bad_paths.h"
#include "tests/tools/paths.h"
#include "tests/tools/program.h"

namespace fs = std::filesystem;

namespace switchyard::test {
namespace {

void flip_byte(const std::string& file, double place) {
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  const auto at = static_cast<std::streamoff>(place * static_cast<double>(fs::file_size(file)));
  stream.seekg(at);
  const int byte = stream.get();
  stream.seekp(at);
  stream.put(static_cast<char>(byte ^ 0xff));
}

TEST_F(BadPaths, ADamagedCheckpointNamesTheNewestGoodOne) {
  const Parts good = {"step 4", "--load-step 2"};
  fs::copy(main(), folder.at("kept"), fs::copy_options::recursive);
  const auto restore = [&] {
    fs::remove_all(main());
    fs::copy(folder.at("kept"), main(), fs::copy_options::recursive);
  };
  fs::remove(shard(4));
  refuse_resume("--train-iters 6", good, 5);
  restore();
  fs::resize_file(master(4), 1000);
  refuse_resume("--train-iters 6", good, 5);
  refuse_fork("main@4", "", {"step-00000004/checkpoint.h5"}, 5);
  restore();
  flip_byte(shard(4), 0.5);
  refuse_resume("--train-iters 6", good, 5);
  refuse_fork("main@4", "", {"rank-00000.h5", "damaged", "no branch can start at step 4"}, 5);
  refuse("eval " + main() + " --data-path " + folder.at("b"), {"rank-00000.h5", "damaged"}, 5);
  refuse("generate " + main() + " --prompt x", {"rank-00000.h5", "damaged"}, 5);
  run_well("train " + main() + " --train-iters 6 --load-step 2");
  EXPECT_EQ(metrics_of(main()).back().at("step"), 6);
  run_well("inspect " + main() + "@6 --verify");
}

TEST_F(BadPaths, ABranchNamesItsDamagedParent) {
  const std::string branch = folder.at("branch");
  run_well("fork " + main() + "@4 " + branch);
  flip_byte(shard(4), 0.5);
  expect_refused("train " + branch + " --train-iters 6",
                 {"damaged", "branch starts at step 4", main()}, 1, 5);
}

// Whichever of the copies is found first, and in the parent's place, too.
TEST_F(BadPaths, ADamagedParentIsReadFromItsCopyNearby) {
  const std::string shard = "/checkpoints/step-00000004/shards/rank-00000.h5";
  const auto copy = [&](const std::string& from, const std::string& to) {
    fs::remove_all(folder.at(to));
    fs::create_directories(fs::path(folder.at(to)).parent_path());
    fs::copy(folder.at(from), folder.at(to), fs::copy_options::recursive);
  };
  copy("main", "kept/within/main");
  for (const std::string damaged : {"one", "two", "main"}) {
    const std::string branch = folder.at("branch-" + damaged);
    const std::string line = "train " + branch + " --train-iters 6";
    copy("kept/within/main", "main");
    run_well("fork " + main() + "@4 " + branch);
    for (const char* name : {"one", "two"}) copy("kept/within/main", name);
    if (damaged != "main") fs::remove_all(main());
    flip_byte(folder.at(damaged) + shard, 0.5);
    const auto outcome = run(words(line));
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_EQ(metrics_of(branch).back().at("step"), 6);
    const bool was_met = outcome.err.find("is read instead") != std::string::npos;
    EXPECT_TRUE(was_met || damaged != "main") << outcome.err;
    const auto is_pinned = [&](const char* name) { return fs::exists(folder.at(name) + "/pins"); };
    EXPECT_TRUE((damaged != "one" && is_pinned("one")) || (damaged != "two" && is_pinned("two")));
  }
}

TEST_F(BadPaths, WhereAllCopiesAreDamagedTheBranchIsRefused) {
  const std::string branch = folder.at("branch");
  run_well("fork " + main() + "@4 " + branch);
  flip_byte(shard(4), 0.5);
  fs::copy(main(), folder.at("copy"), fs::copy_options::recursive);
  const auto outcome = run(words("train " + branch + " --train-iters 6"), 2);
  EXPECT_EQ(outcome.exit_code, 5) << outcome.err;
  EXPECT_THAT(outcome.err, testing::AllOf(testing::HasSubstr(shard(4)),
                                          testing::HasSubstr("step 4 of '" + folder.at("copy"))));
}

// They lie in the main path, not in the mean.
TEST_F(BadPaths, DamagedMomentsOfABranchOfAMeanAreNamedWhereTheyLie) {
  const std::string branch = folder.at("branch");
  run_well("average " + main() + " --steps 2:4:2 --output " + folder.at("mean"));
  run_well("fork " + folder.at("mean") + " " + branch);
  std::string moments = shard(4);
  moments.replace(moments.rfind("h5"), 2, "moments.h5");
  flip_byte(moments, 0.5);
  const std::string said =
      expect_refused("train " + branch + " --train-iters 6",
                     {moments, "takes its moments from step 4 of '" + main()}, 1, 5);
  EXPECT_EQ(said.find("branch starts at"), std::string::npos) << said;
}

// As those of a branch's fork point are.
TEST_F(BadPaths, WhatAMeanOrAnUnsavedForkPointNeedsIsReadFromACopyNearby) {
  run_well("average " + main() + " --steps 2:4:2 --output " + folder.at("mean"));
  run_well("fork " + folder.at("mean") + " " + folder.at("of-mean"));
  run_well("fork " + main() + "@3 " + folder.at("of-step-3"));
  fs::copy(main(), folder.at("copy"), fs::copy_options::recursive);
  std::string moments = shard(4);
  moments.replace(moments.rfind("h5"), 2, "moments.h5");
  flip_byte(moments, 0.5);
  flip_byte(shard(2), 0.5);
  for (const auto& [branch, step] : {std::pair("of-mean", "4"), {"of-step-3", "2"}}) {
    const auto outcome = run(words("train " + folder.at(branch) + " --train-iters 6"));
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    const std::string said =
        fmt::format("step {} of '{}' is damaged; its copy in '{}' is read instead", step, main(),
                    folder.at("copy"));
    EXPECT_THAT(outcome.err, testing::HasSubstr(said));
    EXPECT_EQ(metrics_of(folder.at(branch)).back().at("step"), 6);
  }
}

TEST_F(BadPaths, NoGoodCheckpointIsSaidToo) {
  fs::remove(shard(4));
  fs::remove(shard(2));
  const std::string line =
      expect_refused("train " + main(), {"step 4", "no older step is good"}, 1, 5);
}

// A file system of its own, that the test fills.
class SmallDisk : public OwnDisk {
 public:
  using OwnDisk::OwnDisk;
  // Leaves `bytes` free.
  void fill(uintmax_t bytes) {
    std::ofstream stream(folder() / "filler", std::ios::binary);
    const std::string page(4096, 'x');
    while (fs::space(folder()).available > bytes && stream.write(page.data(), 4096).flush()) {
    }
  }
  void make_room() { fs::remove(folder() / "filler"); }
};

TEST_F(BadPaths, AFullDiskEndsTheRunAndSpoilsNothing) {
  SmallDisk disk(folder.at("disk"));
  if (!disk.mounted()) GTEST_SKIP() << "mounting a tmpfs is not permitted here";
  const std::string run = folder.at("disk/run");
  folder.make_path("disk/run", 2);
  for (const uintmax_t room : {100'000, 20'000, 8192}) {  // a page of it for the lease
    disk.fill(room);
    expect_refused("train " + run + " --train-iters 4", {"step-00000004", "No space left"}, 1, 5);
    EXPECT_FALSE(fs::exists(run + "/checkpoints/step-00000004/checkpoint.h5"));
    disk.make_room();
    run_well("inspect " + run + "@2 --verify");
  }
  disk.fill(0);
  const std::string line = expect_refused(folder.train("disk/new"), {"disk/new"}, 1, 5);
  EXPECT_TRUE(folder.contents("disk/new").empty()) << line;
  disk.make_room();
  disk.fill(8192);
  expect_refused("train " + main() + " --train-iters 2000 --tensorboard " + folder.at("disk"),
                 {"tfevents", "No space left"}, 1, 5);
  disk.make_room();
  run_well("train " + run + " --train-iters 4");
  EXPECT_EQ(metrics_of(run).size(), 4u);
}

}  // namespace
}  // namespace switchyard::test
