#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "core/error.h"
#include "core/files.h"
#include "launch/path/average_members.h"
#include "launch/path/path_lock.h"
#include "launch/path/path_tree.h"
#include "tests/support/temporary_folder.h"

namespace fs = std::filesystem;

namespace switchyard {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// As path.json was written from the first version on.
std::string path_json(const std::string& kind, const std::string& lineage, int64_t decay_iters) {
  return fmt::format(
      R"({{"format_version": 1, "kind": "{}",
 "settings": {{"seq-length": 32, "global-batch-size": 2, "seed": 1}},
 "model": {{"layers": 1, "hidden": 32, "heads": 2, "query_groups": 2, "head_dim": 16,
            "ffn_hidden": 128, "vocabulary": 257, "max_positions": 32}},
 "schedule": {{"maximum": 0.001, "minimum": 0, "warmup": 0, "style": "{}", "decay_begin": 4,
               "decay_from": 0.001, "decay_iters": {}}},
 "data_stages": [], "split": "1", "tokenizer": "byte", "lineage": [{}]}})",
      kind, decay_iters > 0 ? "linear" : "constant", decay_iters, lineage);
}

std::string forked_from(const std::string& parent, int64_t step) {
  return fmt::format(R"({{"path": "{}", "checkpoint": "", "step": {}, "samples": {}}})", parent,
                     step, 2 * step);
}

class PathTree : public ::testing::Test {
 protected:
  void make(const std::string& name, const std::string& lineage = "", int64_t decay_iters = 0,
            int64_t logged = 0) {
    write_file_atomically(folder(name) / "path.json", path_json("path", lineage, decay_iters));
    if (logged == 0) return;
    std::ofstream(folder(name) / "metrics.jsonl")
        << fmt::format("{{\"step\":{},\"loss\":2.5}}\n{{\"step\":{},\"lo", logged, logged + 1);
  }
  fs::path folder(const std::string& name) const {
    fs::create_directories(root() / name);
    return root() / name;
  }
  fs::path root() const { return folder_.path() / "runs"; }
  std::vector<std::string> names() const {
    std::vector<std::string> all;
    for (const auto& p : list_paths(root())) {
      all.push_back(std::string(static_cast<size_t>(p.depth), '>') +
                    p.folder.lexically_relative(root()).string());
    }
    return all;
  }
  test::TemporaryFolder folder_;
};

TEST_F(PathTree, BranchesAreBelowTheirForkPoints) {
  make("main", "", 0, 8);
  make("a", forked_from("../main", 6), 4, 10);
  make("b", forked_from("../main", 4), 4, 8);
  make("deep/c", forked_from("../main", 4) + "," + forked_from("../../b", 8));
  EXPECT_THAT(names(), ElementsAre("main", ">b", ">>deep/c", ">a"));
  const auto all = list_paths(root());
  EXPECT_EQ(all[0].state.loss, 2.5);
  EXPECT_EQ(word_of(all[0].state, *all[0].path), "stopped");
  EXPECT_EQ(all[1].state.step, 8);
  EXPECT_EQ(word_of(all[1].state, *all[1].path), "finished");
  EXPECT_EQ(all[1].parent, 0u);
  EXPECT_THAT(all[1].origin_steps, ElementsAre(4));
  EXPECT_EQ(word_of(all[2].state, *all[2].path), "new");
  EXPECT_EQ(all[2].state.step, 8);
}

TEST_F(PathTree, WhatCannotBeReadIsNamedAndLinksEnd) {
  make("main");
  std::ofstream(folder("torn") / "path.json") << "{\"format_version\": 1, \"ki";
  fs::create_directories(root() / "half" / "checkpoints");
  make("orphan", forked_from("../gone", 6));
  make("x", forked_from("../y", 6));
  make("y", forked_from("../x", 6));
  fs::create_directory_symlink(root(), root() / "main" / "loop");
  fs::create_directory_symlink("nowhere", root() / "dangling");
  EXPECT_THAT(names(), ElementsAre("half", "main", "orphan", "torn", "x", ">y"));
  const auto all = list_paths(root());
  EXPECT_THAT(all[0].problem, HasSubstr("no path.json"));
  EXPECT_EQ(all[2].problem, "");
  EXPECT_THAT(all[2].origin, HasSubstr("gone"));
  EXPECT_EQ(all[3].code, ExitCode::storage);
  EXPECT_THAT(all[3].problem, HasSubstr("torn/path.json cannot be read: damaged at byte 26"));
}

TEST_F(PathTree, ALinkIsNoSecondPathAndNeverItsName) {
  make("z/main");
  make(".mean.unfinished");
  fs::create_directory_symlink("z/main", root() / "a");
  fs::create_directory_symlink("../z", folder("b") / "z");
  make("../elsewhere");
  fs::create_directory_symlink("../elsewhere", root() / "c");
  EXPECT_THAT(names(), ElementsAre("c", "z/main"));
}

TEST_F(PathTree, AnEmptyFolderHasNoneAndAFileIsRefused) {
  EXPECT_TRUE(list_paths(folder("nothing")).empty());
  EXPECT_THROW(list_paths(root() / "missing"), Error);
}

TEST_F(PathTree, ATrainerAtWorkIsSeenAndNotDisturbed) {
  make("main");
  const RunFolder run(root() / "main");
  const PathLock lock(run);
  const auto state = state_of(run, run.read());
  EXPECT_TRUE(state.running);
  EXPECT_EQ(word_of(state, run.read()), "running");
}

TEST(ShowSteps, LongRunsAtOneDistanceAreShort) {
  EXPECT_EQ(show_steps({}), "");
  EXPECT_EQ(show_steps({7}), "7");
  EXPECT_EQ(show_steps({100, 200, 300}), "100, 200, 300");
  EXPECT_EQ(show_steps({100, 200, 300, 400, 450, 500}), "100, 200, ... 400, 450, 500");
  EXPECT_EQ(show_steps({1, 10, 20, 30, 40, 50}), "1, 10, 20, ... 50");
}

}  // namespace
}  // namespace switchyard
