// What lies around a run: names, file systems, memory and clocks that are not as usual.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>

#include "core/files.h"
#include "tests/support/own_disk.h"
#include "tests/support/temporary_folder.h"
#include "tests/tools/paths.h"
#include "tests/tools/refusal.h"

namespace fs = std::filesystem;

namespace switchyard::test {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

class Surroundings : public testing::Test {
 protected:
  fs::path at(const std::string& name) const { return folder_.path() / name; }
  std::vector<std::string> words_of(const fs::path& run, const std::string& more) const {
    return train_words(run, options_ + " " + more);
  }
  static std::string saved(const fs::path& run) { return checkpoint_of(run, 4); }
  Outcome train_at(const fs::path& run, const std::string& more,
                   const std::string& environment = "") const {
    Outcome outcome = test::run(words_of(run, more), 1, environment);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return outcome;
  }

  TemporaryFolder folder_;
  std::string data_ = make_tokens(folder_.path(), "text", 60'000);
  std::string options_ = tiny_path(data_, 6, "--save-interval 20 --log-interval 1");
  std::string wide_ = tiny_path(data_, 6, "--hidden-size 256 --train-iters 4 --save-interval 2");
};

TEST_F(Surroundings, AClockThatGoesBackwardsChangesNothing) {
  const std::string back = "LD_PRELOAD=" SWITCHYARD_CLOCK_BACK;
  const std::string events = " --tensorboard " + at("events").string();
  train_at(at("usual"), "--train-iters 40");
  train_at(at("back"), "--train-iters 20" + events, back);
  train_at(at("back"), "--train-iters 40 --keep-checkpoints 1" + events, back);
  expect_same_steps(at("usual"), at("back"), 1, 40);
  expect_same_tensors(checkpoint_of(at("usual"), 40), checkpoint_of(at("back"), 40));
  EXPECT_THAT(saved_steps(at("back")), ElementsAre(40));
  const std::string run = at("back").string(), branch = at("branch").string();
  run_well("fork " + run + "@40 " + branch + " --lr 1e-4", 1, back);
  run_well("train " + branch + " --train-iters 44", 1, back);
  EXPECT_THAT(run_well("list " + folder_.path().string(), 1, back), HasSubstr("branch"));
  run_well("report " + run + " " + branch + " --output " + at("page.html").string(), 1, back);
  run_well("verify " + run, 1, back);
}

TEST_F(Surroundings, NamesWithSpacesAndOfAllLanguages) {
  train_at(at("plain"), "--train-iters 20");
  const auto run = at("a run \u00e4\u00f6/\u65e5\u672c \U0001f600 'it' \"so\" {} %s \\n").string();
  auto train = words_of("RUN", "--train-iters 20");
  train[1] = run;
  const std::string branch = run + " two", mean = run + " mean", page = run + ".html";
  const std::vector<std::vector<std::string>> lines = {
      train,
      {"fork", run + "@20", branch, "--lr", "1e-4"},
      {"train", branch, "--train-iters", "24"},
      {"verify", branch},
      {"average", branch, "--steps", "24:24:1", "--output", mean},
      {"reshard", branch + "@24", run + " new", "--writers", "2"},
      {"eval", mean, "--data-path", data_},
      {"report", run, branch, "--output", page}};
  for (const auto& line : lines) {
    const auto outcome = test::run(line);
    EXPECT_EQ(outcome.exit_code, 0) << line[0] << "\n" << outcome.err;
  }
  expect_same_tensors(checkpoint_of(at("plain"), 20), checkpoint_of(run, 20));
}

// From within the folder its name is short.
TEST_F(Surroundings, ANameThatIsTooLongForASaveIsRefusedAtTheStart) {
  std::string name = folder_.path().string();
  while (name.size() < 4085)
    name += "/" + std::string(std::min<size_t>(200, 4086 - name.size()), 'x');
  name += "xxxxxxxxxxxxxxxx";
  for (const size_t bytes : {4100, 4085, 4060, 4040}) {
    const std::string run = name.substr(0, bytes);
    const auto outcome = test::run(words_of(run, "--train-iters 20"));
    EXPECT_EQ(outcome.exit_code, 2) << bytes;
    const auto said = [&](const std::string& part) {
      return outcome.err.find(part) != std::string::npos;  // a failure would show all of the name
    };
    EXPECT_TRUE(said("switchyard: [path] ") && said(std::to_string(bytes) + " bytes")) << bytes;
    EXPECT_FALSE(said("step 1/")) << bytes;
  }
  train_at(name.substr(0, 4020), "--train-iters 20");
  EXPECT_THAT(saved_steps(name.substr(0, 4020)), ElementsAre(20));
}

TEST_F(Surroundings, CheckpointsMayLieOnAnotherFileSystem) {
  const OwnDisk disk(at("disk"), 64);
  if (!disk.mounted()) GTEST_SKIP() << "mounting a tmpfs is not permitted here";
  for (const char* name : {"disk/steps", "disk/away", "run"}) fs::create_directory(at(name));
  fs::create_directory_symlink(at("disk/steps"), at("run/checkpoints"));
  train_at(at("run"), "--train-iters 40 --keep-checkpoints 2");
  EXPECT_THAT(saved_steps(at("run")), ElementsAre(20, 40));
  const std::string back = "train " + at("run").string() + " --load-step 20 --train-iters 40";
  expect_refused(back, {"step-00000040 cannot be moved", "same file system"}, 1, 5);
  fs::remove_all(at("run/discarded"));
  fs::create_directory_symlink(at("disk/away"), at("run/discarded"));
  run_well(back);
  EXPECT_TRUE(fs::exists(at("disk/away/step-00000040")));
  run_well("verify " + at("run").string());
}

// As where a file system is not mounted: nobody begins anew at what was trained for weeks.
TEST_F(Surroundings, CheckpointsThatAreNotThereAreMissed) {
  for (const char* name : {"steps", "run"}) fs::create_directory(at(name));
  fs::create_directory_symlink(at("steps"), at("run/checkpoints"));
  train_at(at("run"), "--train-iters 40");
  const std::string again = "train " + at("run").string(), goes_on = again + " --train-iters 60";
  fs::remove(at("run/saved"));  // as of a program that did not note it; this one ends before a save
  {
    Program program(words(again + " --train-iters 1000000 --save-interval 0"));
    EXPECT_TRUE(wait_until([&] { return fs::exists(at("run/saved")); }, 60));
  }
  const auto record = read_file(at("run/metrics.jsonl"));
  fs::rename(at("steps"), at("elsewhere"));
  expect_refused(goes_on, {"checkpoints is a link to", "which is not there"}, 1, 5);
  fs::create_directory(at("steps"));
  expect_refused(goes_on, {"were saved, but", "is its file system there?"}, 1, 5);
  EXPECT_EQ(read_file(at("run/metrics.jsonl")), record);
  fs::remove(at("steps"));
  fs::rename(at("elsewhere"), at("steps"));
  run_well(goes_on);
  // Given up on purpose, there is nothing to be missed.
  run_well("fork " + at("run").string() + "@20 " + at("branch").string());
  run_well("train " + at("branch").string() + " --train-iters 40");
  run_well("train " + at("branch").string() + " --load-step 20 --train-iters 22");
  EXPECT_TRUE(fs::exists(at("branch/discarded/step-00000040")));
}

// In a mount namespace of this process. Files that are open are still written; names no longer.
TEST_F(Surroundings, AFileSystemThatBecomesReadOnlyInMidSaveSpoilsNothing) {
  if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", "", MS_REC | MS_PRIVATE, "") != 0)
    GTEST_SKIP() << "mounting is not permitted here";
  train_at(at("usual"), "--train-iters 60");
  const std::string steps = at("run/checkpoints"), until = at("until");
  Program program(words_of(at("run"), "--train-iters 1000000"), 1,
                  "LD_PRELOAD=" SWITCHYARD_SLOW_DISK
                  " SLOW_DISK_WAITS=step-00000040/shards SLOW_DISK_UNTIL=" +
                      until);
  const auto begun = [&] { return fs::exists(steps + "/step-00000040/shards/rank-00000.h5.tmp"); };
  ASSERT_TRUE(wait_until(begun, 60)) << program.errors_so_far();
  ASSERT_EQ(mount(steps.c_str(), steps.c_str(), "", MS_BIND, ""), 0);
  ASSERT_EQ(mount("none", steps.c_str(), "", MS_REMOUNT | MS_BIND | MS_RDONLY, ""), 0);
  std::ofstream(until) << "";
  const auto outcome = program.wait();
  EXPECT_EQ(outcome.exit_code, 5) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("Read-only file system"));
  EXPECT_THAT(outcome.err, HasSubstr("step-00000040"));
  expect_refused("train " + at("run").string() + " --train-iters 60", {"Read-only file system"}, 1,
                 5);
  ASSERT_EQ(umount(steps.c_str()), 0);
  train_at(at("run"), "--train-iters 60");
  EXPECT_THAT(saved_steps(at("run")), ElementsAre(20, 40, 60));
  expect_same_steps(at("usual"), at("run"), 1, 60);
  expect_same_tensors(checkpoint_of(at("usual"), 60), checkpoint_of(at("run"), 60));
}

// Of the whole test, and of what it starts.
class Limit {
 public:
  Limit(__rlimit_resource kind, rlim_t bytes) : kind_(kind) {
    getrlimit(kind_, &usual_);
    const rlimit less{bytes, usual_.rlim_max};
    setrlimit(kind_, &less);
  }
  ~Limit() { setrlimit(kind_, &usual_); }

 private:
  __rlimit_resource kind_;
  rlimit usual_{};
};

// Of `ulimit -f`: neither a lost rank, which would be started again, nor a killed process.
TEST_F(Surroundings, ALimitOfFilesSizesIsAnErrorOfTheDisk) {
  const Limit limit(RLIMIT_FSIZE, 50'000);
  const Outcome outcome = test::run(words_of(at("run"), "--train-iters 20"));
  EXPECT_EQ(outcome.exit_code, 5) << outcome.err;
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("File too large"), HasSubstr("step-00000020")));
}

Outcome run_within(int mebibytes, const std::vector<std::string>& words) {
  const Limit limit(RLIMIT_AS, static_cast<rlim_t>(mebibytes) << 20);
  return test::run(words);
}

// The address space without which the program's libraries do not load (CUDA's take 1 GiB).
int loaded_mebibytes() {
  int mebibytes = 60;
  while (mebibytes < 4096 && run_within(mebibytes, {"version"}).exit_code != 0) mebibytes += 20;
  return mebibytes;
}

// Whatever the limit, the same bits or an error that says what is short.
TEST_F(Surroundings, WhatUlimitLeavesIsCopiedOrItIsSaid) {
  train(at("all"), wide_);
  const int loaded = loaded_mebibytes();
  bool copied_less = false, refused = false;
  for (const int more : {80, 120, 160, 200, 240, 320}) {
    const int mebibytes = loaded + more;
    const auto run = at("run" + std::to_string(mebibytes));
    const Outcome outcome = run_within(mebibytes, train_words(run, wide_));
    if (outcome.err.find("ends by SIGSEGV") != std::string::npos) continue;  // oneDNN's
    if (outcome.exit_code == 0) {
      expect_same_tensors(saved(at("all")), saved(run));
      copied_less |= outcome.err.find("before training goes on") != std::string::npos;
    } else {
      refused = true;
      EXPECT_THAT(outcome.err, HasSubstr("switchyard: ["))
          << mebibytes << ": " << outcome.exit_code;
      EXPECT_THAT(outcome.err, Not(HasSubstr("switchyard: std::"))) << mebibytes;
    }
  }
  EXPECT_TRUE(copied_less || refused);
  const Limit enough(RLIMIT_AS, rlim_t{4} << 30);
  const Outcome outcome = test::run(train_words(at("enough"), wide_));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, Not(HasSubstr("before training goes on")));
  expect_same_tensors(saved(at("all")), saved(at("enough")));
}

// Of two ranks, whose communicators have threads of their own.
TEST_F(Surroundings, WhereUlimitLeavesNoThreadThatIsSaid) {
  const int loaded = loaded_mebibytes();
  bool said = false;
  for (const int more : {10, 20, 30}) {
    const auto run = at("run" + std::to_string(more));
    auto words = train_words(run, tiny_path(data_, 6, "--train-iters 4"));
    words.insert(words.begin(), {"launch", "-np", "2", "--"});
    const Outcome outcome = run_within(loaded + more, words);
    if (outcome.exit_code == 0 || outcome.err.find("ends by SIGSEGV") != std::string::npos)
      continue;
    said = true;
    EXPECT_THAT(outcome.err, HasSubstr("switchyard: [")) << more;
    EXPECT_THAT(outcome.err, Not(HasSubstr("switchyard: Resource"))) << more;
    EXPECT_THAT(outcome.err, Not(HasSubstr("terminate called"))) << more;
  }
  EXPECT_TRUE(said);
}

// A control group of the first or second version, in which nothing but the program is.
class MemoryGroup {
 public:
  explicit MemoryGroup(int64_t bytes) {
    const std::string name = "switchyard-test-" + std::to_string(getpid());
    for (const auto& [above, limit, peak] :
         {std::tuple("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.max_usage_in_bytes"),
          {"/sys/fs/cgroup", "memory.max", "memory.peak"}}) {
      folder_ = fs::path(above) / name;
      peak_ = peak;
      std::error_code refused;
      fs::create_directory(folder_, refused);
      if (refused) continue;
      made_ = static_cast<bool>(std::ofstream(folder_ / limit) << bytes << std::flush);
      if (made_ && fs::exists(folder_ / peak)) return;
      made_ = false;
      fs::remove(folder_, refused);
    }
  }
  ~MemoryGroup() {
    std::error_code ignored;
    for (int i = 0; made_ && i < 100 && !fs::remove(folder_, ignored); ++i) usleep(20'000);
  }
  bool made() const { return made_; }
  // Run by this process, which is in the group meanwhile.
  Outcome run(const std::vector<std::string>& words) const {
    const auto joined =
        static_cast<bool>(std::ofstream(folder_ / "cgroup.procs") << getpid() << std::flush);
    EXPECT_TRUE(made_ && joined) << folder_;
    Outcome outcome = test::run(words);
    std::ofstream(folder_.parent_path() / "cgroup.procs") << getpid() << std::flush;
    return outcome;
  }
  // The most that the group has had in use, in bytes.
  int64_t peak() const {
    int64_t bytes = 0;
    std::ifstream(folder_ / peak_) >> bytes;
    return bytes;
  }

 private:
  fs::path folder_;
  std::string peak_;
  bool made_ = false;
};

// The most that a run which copies nothing has in use, in bytes; 0 where no group can be made.
int64_t peak_without_a_copy(const std::vector<std::string>& words) {
  const MemoryGroup group(int64_t{8} << 30);
  if (!group.made()) return 0;
  const auto outcome = group.run(words);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_GT(group.peak(), 0);
  return group.peak();
}

// The limit is somewhat more than a run takes that copies nothing.
TEST_F(Surroundings, AControlGroupIsNotFilled) {
  const int64_t peak = peak_without_a_copy(train_words(at("all"), wide_ + " --no-async-save"));
  if (peak == 0) GTEST_SKIP() << "no control group can be made here";
  const auto outcome = MemoryGroup(peak + (16 << 20)).run(train_words(at("run"), wide_));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("the rest is written before training goes on"));
  expect_same_tensors(saved(at("all")), saved(at("run")));
}

}  // namespace
}  // namespace switchyard::test
