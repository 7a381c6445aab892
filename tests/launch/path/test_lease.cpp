// Who works on a path where every node keeps its flocks for itself: `flock` below succeeds always.
#include <gmock/gmock.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <system_error>

#include "core/error.h"
#include "launch/path/lease.h"
#include "launch/path/path_lock.h"
#include "tests/launch/path/saved_path.h"

namespace {
bool has_flock = true;
int refused_with = 0;  // what flock fails with
}  // namespace

extern "C" int flock(int descriptor, int operation) {
  if (refused_with != 0) {
    errno = refused_with;
    return -1;
  }
  return has_flock ? static_cast<int>(syscall(SYS_flock, descriptor, operation)) : 0;
}

namespace switchyard {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using testing::HasSubstr;
using Clock = std::chrono::steady_clock;

LockRules quick() {
  LockRules rules;
  rules.lease = {milliseconds(20), milliseconds(400), milliseconds(20)};
  rules.poll = milliseconds(10);
  rules.is_local = false;
  return rules;
}

LeaseHolder stranger() {
  LeaseHolder holder = this_process();
  holder.host = "n2";
  holder.boot = "another";
  holder.process = 123;
  return holder;
}

LeaseHolder of_job(const std::string& job, int64_t restarts = 0) {
  LeaseHolder holder = stranger();
  holder.scheduler = "slurm";
  holder.job = job;
  holder.restarts = restarts;
  return holder;
}

class LeaseTest : public test::SavedPath {
 protected:
  ~LeaseTest() override {
    has_flock = true;
    refused_with = 0;
    setenv("PATH", path_.c_str(), 1);
    unsetenv("SLURM_JOB_ID");
    unsetenv("SLURM_RESTART_COUNT");
    unsetenv("SWITCHYARD_LAUNCHER");
    unsetenv("SWITCHYARD_LAUNCHER_START");
  }
  fs::path file() const { return folder_.path() / "lease"; }

  // As another process would.
  void write_lease(const LeaseHolder& holder, int64_t counter = 0, const char* token = "theirs") {
    const Json all = {{"token", token}, {"counter", counter}, {"holder", to_json(holder)}};
    write_file_atomically(folder_.path() / "theirs", json_text(all) + "\n");
    fs::rename(folder_.path() / "theirs", file());
  }

  std::string refusal(milliseconds patience = {}, const LockRules& rules = quick()) {
    try {
      const PathLock lock(run_, patience, rules);
    } catch (const Error& problem) {
      return problem.what();
    }
    return "";
  }
  milliseconds time_to_lock(milliseconds given_up_behind = quick().lease.patience) {
    auto rules = quick();
    rules.lease.patience = given_up_behind;
    const auto begin = Clock::now();
    const PathLock lock(run_, {}, rules);
    return std::chrono::duration_cast<milliseconds>(Clock::now() - begin);
  }

  // A program squeue that does as the script says.
  void make_squeue(const std::string& script) {
    const fs::path bin = folder_.path() / "bin";
    fs::create_directories(bin);
    write_file_atomically(bin / "squeue", "#!/bin/sh\n" + script + "\n");
    fs::permissions(bin / "squeue", fs::perms::owner_all);
    setenv("PATH", (bin.string() + ":" + path_).c_str(), 1);
  }

  std::string path_ = getenv("PATH");
};

TEST_F(LeaseTest, is_there_while_the_lock_is_held) {
  {
    const PathLock lock(run_, {}, quick());
    const auto record = parse_lease(*read_lease(file()));
    ASSERT_TRUE(record);
    EXPECT_EQ(record->holder.process, getpid());
    EXPECT_NO_THROW(run_.check_held());
    const auto end = Clock::now() + std::chrono::seconds(10);
    while (parse_lease(*read_lease(file()))->counter < 3 && Clock::now() < end) usleep(1000);
    EXPECT_GE(parse_lease(*read_lease(file()))->counter, 3);
  }
  EXPECT_FALSE(fs::exists(file()));
  EXPECT_NO_THROW(run_.check_held());
}

// Of threads whose stacks are larger than any address space.
class NoThreads {
 public:
  NoThreads() {
    pthread_getattr_default_np(&usual_);
    pthread_attr_t huge = usual_;
    pthread_attr_setstacksize(&huge, size_t{1} << 47);
    pthread_setattr_default_np(&huge);
  }
  ~NoThreads() { pthread_setattr_default_np(&usual_); }
  NoThreads(const NoThreads&) = delete;
  NoThreads& operator=(const NoThreads&) = delete;

 private:
  pthread_attr_t usual_{};
};

// Blocked, no signal would ask this thread to save and stop any more.
TEST_F(LeaseTest, that_gets_no_thread_leaves_nothing_behind) {
  sigset_t before, behind;
  pthread_sigmask(SIG_SETMASK, nullptr, &before);
  {
    const NoThreads none;
    EXPECT_THROW(Lease::make(file(), quick().lease), std::system_error);
  }
  pthread_sigmask(SIG_SETMASK, nullptr, &behind);
  for (const int number : {SIGUSR1, SIGTERM, SIGINT})
    EXPECT_EQ(sigismember(&before, number), sigismember(&behind, number)) << number;
  EXPECT_FALSE(fs::exists(file()));
}

TEST_F(LeaseTest, what_another_one_took_is_not_written_any_more) {
  const auto specification = RunFolder(make_branch("branch", 10)).read();
  {
    const PathLock lock(run_, {}, quick());
    run_.write(specification);
    write_lease(of_job("45", 2));
    for (const auto& write : std::initializer_list<std::function<void()>>{
             [&] { run_.write(specification); }, [&] { discard_behind(run_, 20); },
             [&] { test::retain(run_, {.checkpoints = 1}); },
             [&] { test::retain(run_, {.moments = 1}); }}) {
      try {
        write();
        FAIL() << "it was written";
      } catch (const Error& problem) {
        EXPECT_THAT(problem.what(), HasSubstr("process 123 on n2, Slurm job 45, restart 2"));
        EXPECT_EQ(problem.code(), ExitCode::storage);
      }
    }
    usleep(50'000);  // counts
  }
  EXPECT_EQ(parse_lease(*read_lease(file()))->token, "theirs");
  EXPECT_THAT(test::steps_of(run_), testing::ElementsAre(10, 20, 30, 40));
  for (const auto& entry : list_checkpoints(run_.checkpoints())) EXPECT_TRUE(has_moments(entry));
}

TEST_F(LeaseTest, a_late_count_never_lands_in_the_takers_file) {
  for (int i = 0; i < 50; ++i) {
    auto rules = quick();
    rules.lease.renewal = std::chrono::milliseconds(0);
    const PathLock lock(run_, {}, rules);
    usleep(static_cast<useconds_t>(100 * i));
    write_lease(stranger());
    usleep(1000);
    ASSERT_EQ(parse_lease(*read_lease(file()))->token, "theirs");
    fs::remove(file());
  }
}

TEST_F(LeaseTest, one_that_is_renewed_is_refused_and_one_that_is_not_is_taken_over) {
  has_flock = false;
  write_lease(stranger());
  std::atomic<bool> ends = false;
  std::thread counts([&] {
    for (int64_t i = 1; !ends; ++i) {
      write_lease(stranger(), i);
      usleep(50'000);
    }
  });
  EXPECT_THAT(refusal(), HasSubstr("is being worked on by process 123 on n2"));
  EXPECT_THAT(refusal(milliseconds(600)), HasSubstr("minutes"));
  ends = true;
  counts.join();
  EXPECT_GE(time_to_lock(), milliseconds(400));
}

TEST_F(LeaseTest, of_this_machine_it_is_known_at_once) {
  has_flock = false;
  const pid_t child = fork();
  if (child == 0) pause();
  LeaseHolder holder = this_process();
  holder.process = child;
  write_lease(holder);
  EXPECT_LT(time_to_lock(), milliseconds(300)) << "another start time: the number was given again";
  {
    int ready[2];
    ASSERT_EQ(pipe(ready), 0);
    const pid_t owner = fork();
    if (owner == 0) {
      const PathLock lock(run_, {}, quick());
      if (write(ready[1], "x", 1) != 1) _exit(1);
      pause();
    }
    char byte = 0;
    ASSERT_EQ(read(ready[0], &byte, 1), 1);
    EXPECT_THAT(refusal(), HasSubstr("process " + std::to_string(owner) + " on "));
    EXPECT_THAT(holder_of(run_), HasSubstr(std::to_string(owner)));
    kill(owner, SIGKILL);
    waitpid(owner, nullptr, 0);
    EXPECT_LT(time_to_lock(), milliseconds(300));
  }
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
}

TEST_F(LeaseTest, on_a_disk_of_this_machine_the_flock_decides) {
  write_lease(stranger());
  EXPECT_EQ(holder_of(run_), "");
  auto rules = quick();
  rules.is_local = true;
  const auto begin = Clock::now();
  const PathLock lock(run_, {}, rules);
  EXPECT_LT(Clock::now() - begin, milliseconds(300));
}

// As under a preloaded library, or a file system that is not what it says.
TEST_F(LeaseTest, a_process_that_runs_here_counts_whatever_the_disk_says) {
  has_flock = false;
  write_lease(this_process());
  auto rules = quick();
  rules.is_local = true;
  EXPECT_THROW(PathLock(run_, {}, rules), Error);
}

TEST_F(LeaseTest, holds_alone_where_there_is_no_flock) {
  refused_with = ENOSYS;
  const PathLock lock(run_, {}, quick());
  EXPECT_THAT(refusal(), HasSubstr("is being worked on by process " + std::to_string(getpid())));
  EXPECT_NO_THROW(pin(30, make_branch("branch", 30)));
}

TEST_F(LeaseTest, a_look_before_each_line_costs_microseconds) {
  const PathLock lock(run_, {}, quick());
  const auto begin = Clock::now();
  for (int i = 0; i < 1000; ++i) run_.check_held();
  const auto each = std::chrono::duration<double, std::micro>(Clock::now() - begin).count() / 1000;
  RecordProperty("microseconds", std::to_string(each));
  EXPECT_LT(each, 2000);
}

TEST_F(LeaseTest, slurm_is_asked_of_another_nodes_job) {
  for (const char* over : {"echo COMPLETED 0", "echo PENDING 1", "echo RUNNING 1", "true",
                           "echo Invalid job id specified >&2; exit 1"}) {
    make_squeue(over);
    write_lease(of_job("45"));
    EXPECT_LT(time_to_lock(), milliseconds(300)) << over;
  }
  for (const char* unknown : {"echo RUNNING 0", "echo COMPLETING 0",
                              "echo Unable to contact slurm controller >&2; exit 1"}) {
    make_squeue(unknown);
    write_lease(of_job("45"));
    EXPECT_GE(time_to_lock(), milliseconds(400)) << unknown;
  }
}

TEST_F(LeaseTest, this_very_job_started_again_goes_on_at_once) {
  setenv("SLURM_JOB_ID", "45", 1);
  setenv("SLURM_RESTART_COUNT", "1", 1);
  write_lease(of_job("45"));
  EXPECT_LT(time_to_lock(), milliseconds(300));
  write_lease(of_job("45", 1));
  EXPECT_GE(time_to_lock(), milliseconds(400));
  EXPECT_EQ(lock_patience({}), std::chrono::minutes(5));
  Settings given;
  given.set_text("lock-wait-minutes", "0.5");
  EXPECT_EQ(lock_patience(given), std::chrono::seconds(30));
}

// A node that is lost leaves a lease, and Slurm takes long to say so.
TEST_F(LeaseTest, a_start_that_its_launcher_has_ended_is_given_up_sooner) {
  make_squeue("echo RUNNING 0");
  set_launched_start(2);
  auto holder = of_job("45");
  holder.launch = this_process().launch;
  holder.start = 1;
  write_lease(holder);
  EXPECT_LT(time_to_lock(std::chrono::minutes(1)), std::chrono::seconds(30));
  holder.start = 2;
  write_lease(holder);
  EXPECT_GE(time_to_lock(), milliseconds(400));
  holder.start = 1;
  holder.launch = "another";
  write_lease(holder);
  EXPECT_GE(time_to_lock(), milliseconds(400));
  std::atomic<bool> ends = false;
  holder.launch = this_process().launch;
  write_lease(holder);
  std::thread counts([&] {
    for (int64_t i = 1; !ends; ++i) {
      write_lease(holder, i);
      usleep(1000);
    }
  });
  auto patient = quick();
  patient.lease.renewal = std::chrono::seconds(10);
  EXPECT_THAT(refusal({}, patient), HasSubstr("process 123 on n2")) << "it still counts";
  ends = true;
  counts.join();
}

TEST_F(LeaseTest, of_several_that_take_over_one_has_it) {
  has_flock = false;
  for (int i = 0; i < 5; ++i) {
    write_lease(stranger());
    std::atomic<int> held = 0, most = 0;
    std::vector<std::thread> takers;
    for (int j = 0; j < 4; ++j) {
      takers.emplace_back([&] {
        const RunFolder run(folder_.path());
        const PathLock lock(run, std::chrono::seconds(10), quick());
        most = std::max<int>(most, ++held);
        run.check_held();
        usleep(5000);
        --held;
      });
    }
    for (auto& taker : takers) taker.join();
    EXPECT_EQ(most, 1);
    EXPECT_FALSE(fs::exists(file()));
  }
}

TEST_F(LeaseTest, a_torn_one_is_given_up_like_one_that_is_not_renewed) {
  has_flock = false;
  write_file_atomically(file(), "{\"tok");
  EXPECT_GE(time_to_lock(), milliseconds(400));
}

}  // namespace
}  // namespace switchyard
