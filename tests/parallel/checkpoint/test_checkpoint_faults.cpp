#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <thread>

#include "core/error.h"
#include "tests/parallel/checkpoint/checkpoint_cases.h"
#include "tests/support/own_disk.h"
#include "tests/support/temporary_folder.h"

// Disks that are full and processes that are killed while they save.
namespace switchyard {
namespace {

using namespace test;
namespace fs = std::filesystem;
using std::chrono::microseconds;

// Starts body in a process of its own, which ends as a program does: through exit().
pid_t start_child(const std::function<bool()>& body) {
  const pid_t child = fork();
  check(child >= 0, "test", "cannot fork");
  if (child != 0) return child;
  bool ok = false;
  try {
    ok = body();
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
  }
  std::exit(ok ? 0 : 1);
}

int status_of(pid_t child) {
  int status = 0;
  check(waitpid(child, &status, 0) == child, "test", "cannot wait");
  return status;
}

bool says_all(const std::string& error, std::initializer_list<const char*> parts) {
  for (const char* part : parts) {
    if (error.find(part) != std::string::npos) continue;
    fmt::print(stderr, "\"{}\" is missing in: {}\n", part, error);
    return false;
  }
  return true;
}

// About 600 kB in shards of 100, 200 and 300 kB.
std::vector<TensorCase> some_tensors() {
  return {{"/model/w", {300, 256}, DType::f32, Cut::flat, {}},
          {"/model/v", {300, 256}, DType::f32, Cut::columns, {"/alias"}},
          {"/model/b", {300}, DType::bf16, Cut::flat, {}}};
}

int open_descriptors() {
  return static_cast<int>(std::distance(fs::directory_iterator("/proc/self/fd"), {}));
}

TEST(CheckpointFaults, AFileSizeLimitFailsOnEveryRankAndLeavesNothing) {
  const TemporaryFolder folder;
  for (const rlim_t limit : {100, 1500, 5000, 30'000, 100'000, 250'000, 300'000}) {
    const pid_t child = start_child([&] {
      std::signal(SIGXFSZ, SIG_IGN);
      const rlimit limits{limit, limit};
      check(setrlimit(RLIMIT_FSIZE, &limits) == 0, "test", "cannot limit the size of files");
      const std::string error = error_of([&] { save(folder.path(), 2, some_tensors(), 3); });
      return says_all(error, {"rank ", "/shards/rank-0000", "File too large"}) &&
             list_checkpoints(folder.path()).empty();
    });
    EXPECT_EQ(status_of(child), 0) << "limit " << limit;
  }
  save(folder.path(), 2, some_tensors(), 3);
  EXPECT_EQ(difference(checkpoint_folder(folder.path(), 2), some_tensors(), 2), "");
}

// Fills the disk up to `left` bytes.
void fill_up(const fs::path& disk, int64_t left) {
  const auto space = static_cast<int64_t>(fs::space(disk).available);
  std::ofstream(disk / "filler") << std::string(static_cast<size_t>(space - left), 'x');
}

TEST(CheckpointFaults, AFullDiskFailsOnEveryRankAndTheNextSaveWorks) {
  const TemporaryFolder folder;
  const OwnDisk disk(folder.path());
  if (!disk.mounted()) GTEST_SKIP() << "mounting a small disk needs root";
  const pid_t child = start_child([&] {
    const fs::path checkpoints = folder.path() / "checkpoints";
    save(checkpoints, 1, some_tensors(), 3);
    int before = 0;
    for (int64_t left = 0; left < 600'000; left += 45'056) {
      fill_up(folder.path(), left);
      const std::string error = error_of([&] { save(checkpoints, 2, some_tensors(), 3); });
      if (!says_all(error, {"No space left on device", "rank ", "step-00000002"})) return false;
      if (list_checkpoints(checkpoints).size() != 1) return false;
      if (!difference(checkpoint_folder(checkpoints, 1), some_tensors(), 1).empty()) return false;
      fs::remove(folder.path() / "filler");
      if (left == 0) before = open_descriptors();
    }
    save(checkpoints, 2, some_tensors(), 3);
    return difference(checkpoint_folder(checkpoints, 2), some_tensors(), 2).empty() &&
           open_descriptors() == before;
  });
  EXPECT_EQ(status_of(child), 0);
}

// Pieces of a rank's one file are prepared while those of its other one are written.
TEST(CheckpointFaults, AFullDiskNamesTheFileThatWasWritten) {
  const TemporaryFolder folder;
  const OwnDisk disk(folder.path());
  if (!disk.mounted()) GTEST_SKIP() << "mounting a small disk needs root";
  std::vector<TensorCase> tensors;
  for (int i = 0; i < 6; ++i) {
    for (const char* group : {"model", "optimizer/exp_avg"})
      tensors.push_back({fmt::format("/{}/{}", group, i), {100, 330}, DType::f32, Cut::flat, {}});
  }
  const pid_t child = start_child([&] {
    fs::create_directory(folder.path() / "checkpoints");
    for (const int64_t left : {60'000, 200'000, 400'000, 800'000, 1'200'000}) {
      fill_up(folder.path(), left);
      const auto error = error_of([&] { save(folder.path() / "checkpoints", 2, tensors, 1); });
      if (!says_all(error, {"No space left on device", "/shards/rank-00000"})) return false;
      const bool two = error.find(".h5.tmp") != error.rfind(".h5.tmp");
      if (two) fmt::print(stderr, "two files are named: {}\n", error);
      if (two) return false;
      fs::remove(folder.path() / "filler");
    }
    return true;
  });
  EXPECT_EQ(status_of(child), 0);
}

TEST(CheckpointFaults, AKilledSaveIsNeverCompleteAndWrong) {
  static constexpr int rounds = 30;
  const TemporaryFolder folder;
  const auto tensors = some_tensors();
  save(folder.path(), 1, tensors, 2);
  const auto step = checkpoint_folder(folder.path(), 2);
  const auto save_in_child = [&] {
    return start_child([&] {
      save(folder.path(), 2, tensors, 2);
      return true;
    });
  };
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_EQ(status_of(save_in_child()), 0);
  const auto duration = std::chrono::steady_clock::now() - begin;
  int incomplete = 0;
  for (int round = 0; round < rounds; ++round) {
    remove_checkpoint(step);
    const pid_t child = save_in_child();
    std::this_thread::sleep_for(duration * round / rounds);
    kill(child, SIGKILL);
    status_of(child);
    ASSERT_EQ(difference(checkpoint_folder(folder.path(), 1), tensors, 1), "");
    const auto entries = list_checkpoints(folder.path());
    const bool complete = entries.size() == 2 && entries[1].complete;
    if (!complete) {
      ++incomplete;
      save(folder.path(), 2, tensors, 2);
    }
    ASSERT_EQ(difference(step, tensors, 2), "") << "round " << round;
    CheckpointReader(step).verify();
  }
  EXPECT_GT(incomplete, 5);
}

}  // namespace
}  // namespace switchyard
