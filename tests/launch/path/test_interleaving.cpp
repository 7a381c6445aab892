// What deletes steps of a path, and what reads them and keeps them, on hosts that do not see each
// other's flocks: one of two is stopped before each of its changes to names in turn, the other runs
// to its end meanwhile, then the first goes on. Behind that the folders must make sense.
// SWITCHYARD_INTERLEAVINGS=all tries every place; else every third, another third for each pair.
#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <map>
#include <regex>

#include "core/error.h"
#include "core/logging.h"
#include "launch/path/average.h"
#include "launch/path/fork.h"
#include "launch/path/fork_point.h"
#include "launch/path/path_lock.h"
#include "launch/path/prune.h"
#include "launch/path/resumable.h"
#include "tests/data/reference_set.h"
#include "tests/launch/path/saved_path.h"
#include "tests/support/stepped_files.h"

namespace fs = std::filesystem;

namespace switchyard {
namespace {

using std::chrono::milliseconds;

// Without folders, numbers and ids.
std::string kind_of(const std::string& text) {
  const std::string named = std::regex_replace(text, std::regex("'?/tmp[^ ';:]*'?"), "PATH");
  return std::regex_replace(named, std::regex("[0-9a-f]{32}|[0-9]+"), "N");
}

constexpr int done = 0, refused = 2, broken = 3;

// A process that does something; what it threw is in the file.
class Actor {
 public:
  Actor(const std::function<void()>& body, int64_t stop, fs::path said) : said_(std::move(said)) {
    pid_ = ::fork();
    if (pid_ != 0) return;
    _exit(act(body, stop));
  }
  // Whether it has stopped or ended within the time.
  bool rests(milliseconds time) {
    const auto end = std::chrono::steady_clock::now() + time;
    while (!ended_ && !stopped_) {
      int status = 0;
      const pid_t found = waitpid(pid_, &status, WUNTRACED | WNOHANG);
      if (found == pid_) {
        stopped_ = WIFSTOPPED(status);
        ended_ = !stopped_;
        code_ = WIFEXITED(status) ? WEXITSTATUS(status) : broken;
      } else if (std::chrono::steady_clock::now() >= end) {
        return false;
      } else {
        usleep(200);
      }
    }
    return true;
  }
  bool stopped() const { return stopped_; }
  int code() const { return code_; }
  std::string said() const { return fs::exists(said_) ? read_file(said_) : ""; }
  void go_on() {
    stopped_ = false;
    kill(pid_, SIGCONT);
  }
  void end() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }

 private:
  int act(const std::function<void()>& body, int64_t stop) {
    test::stop_before(stop);
    try {
      body();
      test::stop_before(0);
      return done;
    } catch (const Error& problem) {
      test::stop_before(0);
      write_file_atomically(said_, problem.what());
      return refused;
    } catch (const std::exception& problem) {
      test::stop_before(0);
      write_file_atomically(said_, problem.what());
      return broken;
    }
  }

  fs::path said_;
  pid_t pid_ = -1;
  bool stopped_ = false, ended_ = false;
  int code_ = broken;
};

void save_value(const RunFolder& run, int64_t step, float value) {
  CheckpointInfo info;
  info.id = random_checkpoint_id();
  info.step = step;
  info.samples = 8 * step;
  CheckpointStreamWriter writer(run.checkpoints(), info);
  for (const char* group : {"model", "optimizer/exp_avg", "optimizer/exp_avg_sq"}) {
    writer.add({fmt::format("/{}/x", group), {1}, DType::f32}, &value);
  }
  writer.finish();
}

class Interleaving : public testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(saved_.path() / "run");
    const RunFolder run(saved_.path() / "run");
    for (const char* set : {"a", "b"}) test::write_counting_set(data(set), 20'000);
    Settings given;
    for (const auto& [option, value] : {std::pair<const char*, std::string>{"preset", "gpt2-tiny"},
                                        {"seq-length", "16"},
                                        {"global-batch-size", "8"},
                                        {"lr", "1e-3"},
                                        {"data-path", data("a")}}) {
      given.set_text(option, value);
    }
    run.write(new_path(given));
    for (const int64_t step : {10, 20, 30, 40}) save_value(run, step, static_cast<float>(step));
    id_of_20_ = CheckpointReader(run.checkpoint(20).folder).info().id;
  }

  RunFolder run() const { return RunFolder(at("run")); }
  fs::path at(const char* name) const { return work_ / name; }
  std::string data(const char* name) const { return (data_.path() / name).string(); }

  // Those that delete, under the path's lock.
  std::function<void()> pruning() const {
    return [this] { prune(run(), {{.checkpoints = 1}}); };
  }
  std::function<void()> dropping_moments() const {
    return [this] { prune(run(), {{.moments = 1}}); };
  }
  std::function<void()> saving() const {
    return [this] {
      const RunFolder run = this->run();
      const PathLock lock(run);
      save_value(run, 50, 50);
      Retention(run, {.checkpoints = 2}).apply();
    };
  }
  std::function<void()> going_back() const {
    return [this] {
      const RunFolder run = this->run();
      const PathLock lock(run);
      discard_behind(run, 10);
      save_value(run, 20, 120);
    };
  }
  // Those that keep and read.
  std::function<void()> forking() const {
    return [this] { fork((at("run").string() + "@20"), at("branch").string(), {}); };
  }
  std::function<void()> averaging() const {
    return [this] {
      average({.members = members_of(at("run").string(), {10, 20}), .output = at("mean").string()});
    };
  }
  std::function<void()> extending() const {
    return [this] {
      Settings given;
      given.set_text("data-path", data("b"));
      extend(at("run").string(), 45, given);
    };
  }
  std::function<void()> inspecting() const {
    return [this] {
      for (const auto& entry : list_checkpoints(run().checkpoints())) {
        if (entry.complete) CheckpointReader(entry.folder).verify();
      }
      read_pins(at("run"));
    };
  }

  void expect_branch_whole(const Actor& forks) const {
    const RunFolder branch(at("branch"));
    ASSERT_EQ(branch.exists(), forks.code() == done) << forks.said();
    if (!branch.exists()) {
      EXPECT_FALSE(is_pinned(at("run"), 20)) << "left by a fork that was refused";
      return;
    }
    const auto path = branch.read();
    try {
      const auto& fork = path.lineage.back();
      const auto found = fork.replayed ? *find_replay_origin(branch, *fork.replayed)
                                       : find_fork_point(branch, fork);
      check_resumable(found.parent, found.entry);
      CheckpointReader(found.entry.folder).verify();
    } catch (const Error& problem) {
      ADD_FAILURE() << "the fork point is lost: " << problem.what();
    }
  }
  void expect_mean_right(const Actor& averages) const {
    const RunFolder mean(at("mean"));
    ASSERT_EQ(mean.exists(), averages.code() == done) << averages.said();
    EXPECT_FALSE(fs::exists(work_ / ".mean.unfinished"));
    if (!mean.exists()) return;
    const CheckpointReader reader(mean.checkpoint({}).folder);
    reader.verify();
    float x = 0;
    reader.read("/model/x", Box::whole({1}), &x);
    const auto members = members_in(reader.info());
    ASSERT_EQ(members.size(), 2u);
    EXPECT_EQ(x, members[1].checkpoint == id_of_20_ ? 15 : 65);
  }
  void expect_extended(const Actor& extends) const {
    EXPECT_EQ(run().read().stages.size(), extends.code() == done ? 2U : 1U) << extends.said();
  }
  // Only what is complete or nothing, and no names of things on their way.
  void expect_run_whole() const {
    int64_t newest = 0;
    for (const auto& entry : list_checkpoints(run().checkpoints())) {
      EXPECT_TRUE(entry.complete) << entry.folder;
      if (entry.complete) CheckpointReader(entry.folder).verify();
      newest = entry.step;
    }
    EXPECT_GE(newest, 20);
    EXPECT_FALSE(fs::exists(at("run") / "lease"));
    for (const auto& file : fs::recursive_directory_iterator(work_)) {
      const std::string name = file.path().filename().string();
      EXPECT_FALSE(name.ends_with(".tmp") || name.ends_with(".leaving") ||
                   name.ends_with(".whole") || name.starts_with(".look-"))
          << file.path();
    }
  }

  void copy_saved() {
    work_ = data_.path() / "work";
    for (const char* name : {"work", "one", "other"}) fs::remove_all(data_.path() / name);
    fs::copy(saved_.path(), work_, fs::copy_options::recursive);
  }

  using Check = std::function<void(const Actor&)>;
  // False: the first one has fewer changes to make.
  bool try_one(const std::function<void()>& first, const std::function<void()>& second,
               int64_t stop, const Check& check_first, const Check& check_second) {
    copy_saved();
    Actor one(first, stop, data_.path() / "one");
    EXPECT_TRUE(one.rests(std::chrono::seconds(20))) << "it hangs";
    const bool stopped = one.stopped();
    if (stopped) {
      Actor other(second, 0, data_.path() / "other");
      other.rests(milliseconds(300));  // or waits for the first
      one.go_on();
      EXPECT_TRUE(one.rests(std::chrono::seconds(20))) << "it hangs";
      EXPECT_TRUE(other.rests(std::chrono::seconds(20))) << "the other one hangs";
      EXPECT_NE(one.code(), broken) << one.said();
      EXPECT_NE(other.code(), broken) << other.said();
      if (check_first) check_first(one);
      if (check_second) check_second(other);
      expect_run_whole();
      for (const Actor* each : {&one, &other}) {
        if (each->code() == refused) ++refusals_[kind_of(each->said())];
      }
      if (HasFailure()) ADD_FAILURE() << "one: " << one.said() << "\nother: " << other.said();
    }
    return stopped;
  }
  void try_all(const std::function<void()>& first, const std::function<void()>& second,
               const Check& check_first, const Check& check_second) {
    static int64_t pairs = 0;
    const char* wanted = std::getenv("SWITCHYARD_INTERLEAVINGS");
    const int64_t every = wanted != nullptr && std::string(wanted) == "all" ? 1 : 3;
    int64_t stop = 1 + pairs++ % every;
    for (; !HasFailure(); stop += every) {
      SCOPED_TRACE("stopped before change " + std::to_string(stop));
      if (!try_one(first, second, stop, check_first, check_second)) break;
      ++tried_;
    }
  }
  // Either of the two is the one that is stopped.
  void try_both(const std::function<void()>& deletes, const std::function<void()>& keeps,
                const Check& check) {
    try_all(deletes, keeps, {}, check);
    try_all(keeps, deletes, check, {});
    EXPECT_GT(tried_, 4) << "nothing was stopped";
    std::cout << tried_ << " interleavings\n";
    for (const auto& [said, times] : refusals_) std::cout << times << " x " << said << "\n";
  }
  Check branch_is_whole() const {
    return [this](const Actor& forks) { expect_branch_whole(forks); };
  }
  Check mean_is_right() const {
    return [this](const Actor& averages) { expect_mean_right(averages); };
  }

  test::TemporaryFolder saved_, data_;
  fs::path work_;
  std::string id_of_20_;
  int64_t tried_ = 0;
  std::map<std::string, int64_t> refusals_;
};

TEST_F(Interleaving, pruning_and_a_fork) { try_both(pruning(), forking(), branch_is_whole()); }
TEST_F(Interleaving, moments_that_go_and_a_fork) {
  try_both(dropping_moments(), forking(), branch_is_whole());
}
TEST_F(Interleaving, a_save_with_retention_and_a_fork) {
  try_both(saving(), forking(), branch_is_whole());
}
TEST_F(Interleaving, going_back_and_a_fork) {
  try_both(going_back(), forking(), branch_is_whole());
}
TEST_F(Interleaving, pruning_and_an_average) { try_both(pruning(), averaging(), mean_is_right()); }
TEST_F(Interleaving, a_save_with_retention_and_an_average) {
  try_both(saving(), averaging(), mean_is_right());
}
TEST_F(Interleaving, going_back_and_an_average) {
  try_both(going_back(), averaging(), mean_is_right());
}
// What the killed one left is put right by the branch, and by the next one that deletes.
TEST_F(Interleaving, a_fork_while_what_deletes_is_stopped_and_then_killed) {
  for (const auto& deletes : {pruning(), dropping_moments()}) {
    for (int64_t stop = 1; !HasFailure(); ++stop) {
      SCOPED_TRACE("killed before change " + std::to_string(stop));
      copy_saved();
      Actor one(deletes, stop, data_.path() / "one");
      ASSERT_TRUE(one.rests(std::chrono::seconds(20)));
      if (!one.stopped()) break;
      Actor forks(forking(), 0, data_.path() / "other");
      forks.rests(milliseconds(300));
      one.end();
      ASSERT_TRUE(forks.rests(std::chrono::seconds(20)));
      expect_branch_whole(forks);
      Actor again(deletes, 0, data_.path() / "one");
      ASSERT_TRUE(again.rests(std::chrono::seconds(20)));
      EXPECT_EQ(again.code(), done) << again.said();
      expect_branch_whole(forks);
      for (const auto& entry : list_checkpoints(run().checkpoints()))
        CheckpointReader(entry.folder).verify();
    }
  }
}
TEST_F(Interleaving, a_save_with_retention_and_an_extension) {
  try_both(saving(), extending(), [this](const Actor& extends) { expect_extended(extends); });
}
TEST_F(Interleaving, pruning_and_a_look) { try_both(pruning(), inspecting(), {}); }
TEST_F(Interleaving, moments_that_go_and_a_look) { try_both(dropping_moments(), inspecting(), {}); }

}  // namespace
}  // namespace switchyard
