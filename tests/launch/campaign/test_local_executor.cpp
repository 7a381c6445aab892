// Jobs as processes, with shell scripts in place of the program.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <thread>

#include "core/error.h"
#include "core/files.h"
#include "core/stop_signal.h"
#include "launch/campaign/local_executor.h"
#include "tests/support/temporary_folder.h"

namespace fs = std::filesystem;

namespace switchyard {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using Clock = std::chrono::steady_clock;

class LocalExecutorTest : public ::testing::Test {
 protected:
  LocalExecutorTest() {
    fs::create_directories(at("bin"));
    make_script("bin/program", "eval \"$1\"");
    resources_.logs = at("logs");
    resources_.jobs = 2;
    resources_.ranks = 4;
    resources_.program = at("bin/program");
  }

  fs::path at(const std::string& name) const { return folder_.path() / name; }

  void make_script(const std::string& name, const std::string& text) const {
    std::ofstream(at(name)) << "#!/bin/sh\n" << text << "\n";
    fs::permissions(at(name), fs::perms::owner_all);
  }

  // A job of one rank that is a line of a shell.
  static Job job(const std::string& name, const std::string& line) { return {name, {line}}; }

  std::unique_ptr<Executor> executor() const { return make_local_executor(resources_); }

  static int code_of_only(Executor& jobs) {
    const auto ends = jobs.ended(10s);
    EXPECT_EQ(ends.size(), 1U);
    return ends.empty() ? -1 : ends[0].code;
  }

  int code_of_line(const std::string& line) const {
    const auto jobs = executor();
    jobs->start(job("one", line));
    return code_of_only(*jobs);
  }

  std::string log(const std::string& name) const { return read_file(at("logs/" + name + ".log")); }

  void wait_for(const fs::path& file) const {
    for (const auto end = Clock::now() + 10s; !fs::exists(file) && Clock::now() < end;)
      std::this_thread::sleep_for(5ms);
    ASSERT_TRUE(fs::exists(file)) << file;
  }

  std::string refusal(const Job& refused) const {
    const auto jobs = executor();
    try {
      jobs->start(refused);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }

  test::TemporaryFolder folder_;
  LocalResources resources_;
};

TEST_F(LocalExecutorTest, RunsAJobToItsEnd) {
  const auto jobs = executor();
  jobs->start(job("main", "echo begun; echo wrong >&2; exit 3"));
  EXPECT_THAT(jobs->running(), ElementsAre("main"));
  EXPECT_EQ(code_of_only(*jobs), 3);
  EXPECT_THAT(jobs->running(), IsEmpty());
  EXPECT_THAT(log("main"), HasSubstr("begun\nwrong\n"));
  EXPECT_THAT(jobs->ended(0ms), IsEmpty());
}

TEST_F(LocalExecutorTest, AppendsToTheLogWithTheCommandOfEachStart) {
  const auto jobs = executor();
  for (const char* line : {"echo first", "echo second"}) {
    jobs->start(job("score/v1", line));
    EXPECT_EQ(code_of_only(*jobs), 0);
  }
  EXPECT_THAT(log("score/v1"),
              testing::MatchesRegex("== [0-9TZ:-]+ .*/bin/program 'echo first'\nfirst\n"
                                    "== [^\n]* ended with code 0\n"
                                    "== [^\n]*/bin/program 'echo second'\nsecond\n.*"));
}

TEST_F(LocalExecutorTest, KeepsAResultOfSuccessAlone) {
  const fs::path result = at("scores/v1.json");
  const auto jobs = executor();
  Job scores = job("v1", "echo '{}'; echo remark >&2; exit 1");
  scores.result = result;
  fs::create_directories(at("scores"));
  std::ofstream(temporary_of(result)) << "what a killed campaign has left, longer than the result";
  jobs->start(scores);
  EXPECT_FALSE(fs::exists(result));
  EXPECT_EQ(code_of_only(*jobs), 1);
  EXPECT_FALSE(fs::exists(result));
  EXPECT_FALSE(fs::exists(temporary_of(result)));
  scores.arguments = {"echo '{}'; echo remark >&2"};
  jobs->start(scores);
  EXPECT_EQ(code_of_only(*jobs), 0);
  EXPECT_EQ(read_file(result), "{}\n");
  EXPECT_FALSE(fs::exists(temporary_of(result)));
  EXPECT_THAT(log("v1"), testing::AllOf(HasSubstr("remark\n"), Not(HasSubstr("{}\n"))));
}

TEST_F(LocalExecutorTest, AResultThatCannotTakeItsNameIsAnErrorOfStorage) {
  const auto jobs = executor();
  Job scores = job("v1", "sleep 0.1");
  scores.result = at("v1.json");
  jobs->start(scores);
  fs::create_directories(at("v1.json/taken"));
  EXPECT_EQ(code_of_only(*jobs), 5);
  EXPECT_THAT(log("v1"), HasSubstr("v1.json cannot be written: "));
}

TEST_F(LocalExecutorTest, SignalsHaveTheCodesOfTheTable) {
  EXPECT_EQ(code_of_line("kill -KILL $$"), 76);
  EXPECT_EQ(code_of_line("kill -SEGV $$"), 1);
  EXPECT_EQ(code_of_line("exit 137"), 76);  // as mpirun and shells say it
  EXPECT_EQ(code_of_line("exit 139"), 1);
  EXPECT_EQ(code_of_line("exit 130"), 130);
  EXPECT_EQ(code_of_line("exit 75"), 75);
}

TEST_F(LocalExecutorTest, HasRoomForJobsAndRanks) {
  const auto jobs = executor();
  EXPECT_TRUE(jobs->has_room(4));
  EXPECT_FALSE(jobs->has_room(5));
  jobs->start(job("one", "sleep 10"));
  EXPECT_TRUE(jobs->has_room(3));
  EXPECT_FALSE(jobs->has_room(4));
  jobs->start(job("two", "sleep 10"));
  EXPECT_FALSE(jobs->has_room(1));
  jobs->kill();
  while (!jobs->running().empty()) jobs->ended(1s);
  EXPECT_TRUE(jobs->has_room(4));
}

TEST_F(LocalExecutorTest, RefusesWhatCanNeverRun) {
  EXPECT_THAT(refusal({"main", {"true"}, 5}), HasSubstr("main takes 5 ranks; 1 to 4 are allowed"));
  EXPECT_THAT(refusal({"main", {"true"}, 0}), HasSubstr("main takes 0 ranks; 1 to 4 are allowed"));
  EXPECT_THAT(refusal({"../main", {"true"}}), HasSubstr("'../main' names a job"));
  resources_.gpus = {"0", "1"};
  EXPECT_THAT(refusal({"main", {"true"}, 3}), HasSubstr("takes 3 ranks, a GPU each; there are 2"));
  resources_.program = at("bin/none");
  EXPECT_THAT(refusal({"main", {"true"}}), HasSubstr("bin/none cannot be started: No such file"));
  EXPECT_FALSE(fs::exists(at("logs/../main.log")));
  const auto jobs = executor();
  resources_.launcher = "srun";
  EXPECT_THROW(executor(), Error);
}

TEST_F(LocalExecutorTest, DealsTheLowestFreeGpus) {
  resources_.gpus = {"0", "GPU-ab", "2"};
  resources_.jobs = 3;
  const std::string shows = "echo gpus $CUDA_VISIBLE_DEVICES; ";
  // As `launch -np 2 -- LINE`.
  make_script("bin/program", "[ \"$1\" != launch ] || shift 4; eval \"$1\"");
  const auto jobs = executor();
  jobs->start(job("one", shows));
  jobs->start({"two", {shows + "touch " + at("said").string() + "; sleep 10"}, 2});
  EXPECT_EQ(code_of_only(*jobs), 0);
  EXPECT_FALSE(jobs->has_room(2));
  jobs->start(job("three", shows));
  EXPECT_EQ(code_of_only(*jobs), 0);
  wait_for(at("said"));
  EXPECT_THAT(log("one"), HasSubstr("\ngpus 0\n"));
  EXPECT_THAT(log("two"), HasSubstr("\ngpus GPU-ab,2\n"));
  EXPECT_THAT(log("two"), HasSubstr("/program launch -np 2 -- "));
  EXPECT_THAT(log("three"), HasSubstr("\ngpus 0\n"));
}

TEST_F(LocalExecutorTest, FindsMpirunBesideTheProgramOrInThePath) {
  const std::string before = std::getenv("PATH");
  setenv("PATH", at("elsewhere").c_str(), 1);
  const std::string refused = refusal({"main", {"true"}, 2});
  fs::create_directories(at("elsewhere"));
  make_script("elsewhere/mpirun", "echo other $1 $2");
  const auto said = [&] {
    const auto jobs = executor();
    jobs->start({"main", {"true"}, 2});
    EXPECT_EQ(code_of_only(*jobs), 0);
    return log("main");
  };
  EXPECT_THAT(said(), HasSubstr("other -np 2\n"));
  make_script("bin/switchyard-mpirun", "echo own $1 $2 $4");
  EXPECT_THAT(said(), HasSubstr("own -np 2 true\n"));
  setenv("PATH", before.c_str(), 1);
  EXPECT_THAT(refused, testing::AllOf(HasSubstr("switchyard-mpirun"), HasSubstr("/launch/mpirun"),
                                      HasSubstr("mpirun in the PATH")));
}

TEST_F(LocalExecutorTest, ThreadsAreTheSameWhateverRunsBeside) {
  const std::string shows = "echo threads $OMP_NUM_THREADS";
  const std::string before = std::getenv("OMP_NUM_THREADS");
  EXPECT_EQ(code_of_line(shows), 0);
  EXPECT_THAT(log("one"), HasSubstr("threads " + before + "\n"));
  unsetenv("OMP_NUM_THREADS");
  resources_.jobs = 2;
  EXPECT_EQ(code_of_line(shows), 0);
  setenv("OMP_NUM_THREADS", before.c_str(), 1);
  const auto half = std::max(1U, std::thread::hardware_concurrency() / 2);
  EXPECT_THAT(log("one"), HasSubstr("threads " + std::to_string(half) + "\n"));
}

TEST_F(LocalExecutorTest, StopAsksAndKillEnds) {
  const auto jobs = executor();
  jobs->start(job("trains", "trap 'exit 75' USR1; touch " + at("ready").string() +
                                "; while :; do sleep 0.02; done"));
  jobs->start(job("scores", "sleep 60"));
  wait_for(at("ready"));
  jobs->stop();
  std::map<std::string, int> codes;
  while (!jobs->running().empty())
    for (const auto& end : jobs->ended(10s)) codes[end.name] = end.code;
  EXPECT_EQ(codes, (std::map<std::string, int>{{"scores", 130}, {"trains", 75}}));
  jobs->start(job("deaf", "trap '' USR1; touch " + at("deaf").string() + "; sleep 60"));
  wait_for(at("deaf"));
  jobs->stop();
  EXPECT_THAT(jobs->ended(50ms), IsEmpty());
  const auto begin = Clock::now();
  jobs->kill();
  EXPECT_EQ(code_of_only(*jobs), 130);
  EXPECT_LT(Clock::now() - begin, 3s);
}

// A parent of its own, which the test kills.
TEST_F(LocalExecutorTest, WhenTheParentIsKilledJobsSave) {
  const pid_t parent = fork();
  if (parent == 0) {
    const auto jobs = executor();
    jobs->start(job("trains", "trap 'sleep 0.1; touch " + at("saved").string() +
                                  "; exit 75' USR1; touch " + at("ready").string() +
                                  "; while :; do sleep 0.02; done"));
    jobs->ended(60s);
    _exit(1);
  }
  wait_for(at("ready"));
  kill(parent, SIGKILL);
  waitpid(parent, nullptr, 0);
  wait_for(at("saved"));
}

TEST_F(LocalExecutorTest, ASignalEndsTheWait) {
  const auto jobs = executor();
  jobs->start(job("long", "sleep 60"));
  auto signals = std::make_unique<StopSignal>();
  raise(SIGUSR1);  // just before the wait
  const auto begin = Clock::now();
  EXPECT_THAT(jobs->ended(60s), IsEmpty());
  std::thread later([main = pthread_self()] {
    std::this_thread::sleep_for(50ms);
    pthread_kill(main, SIGUSR1);
  });
  EXPECT_THAT(jobs->ended(60s), IsEmpty());
  later.join();
  EXPECT_LT(Clock::now() - begin, 10s);
  EXPECT_THAT(jobs->ended(50ms), IsEmpty());  // which is known by now
  signals.reset();
  const StopSignal forgets;
}

TEST_F(LocalExecutorTest, ChildrenHaveNoFilesTerminalOrSignalsOfTheParent) {
  std::ofstream open(at("lock"));
  signal(SIGUSR1, SIG_IGN);  // as StopSignal leaves it
  EXPECT_EQ(code_of_line("cat; ls -l /proc/self/fd | grep -c ' -> '; grep SigIgn /proc/$$/status; "
                         "cut -d' ' -f1,5 /proc/$$/stat | tr ' ' '\\n' | uniq | wc -l"),
            0);
  signal(SIGUSR1, SIG_DFL);
  // Standard input, output and error, and the folder that is listed.
  EXPECT_THAT(log("one"), testing::ContainsRegex("\n[34]\nSigIgn:\t0+\n1\n"));
}

TEST_F(LocalExecutorTest, DestroyedItLeavesNothingBehind) {
  {
    const auto jobs = executor();
    jobs->start(job("long", "sleep 60 & echo $! > " + at("pid.tmp").string() + "; mv " +
                                at("pid.tmp").string() + " " + at("pid").string() + "; wait"));
    wait_for(at("pid"));
  }
  std::string pid = read_file(at("pid"));
  pid.pop_back();
  const auto lives = [&] {  // nobody may have waited for it yet
    std::ifstream stat("/proc/" + pid + "/stat");
    std::string number, name, state = "Z";
    stat >> number >> name >> state;
    return state != "Z";
  };
  for (int i = 0; i < 200 && lives(); ++i) std::this_thread::sleep_for(5ms);
  EXPECT_FALSE(lives());
}

}  // namespace
}  // namespace switchyard
