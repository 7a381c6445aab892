#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "parallel/comm/control_plane.h"
#include "parallel/comm/culprits.h"
#include "parallel/comm/inquiry.h"
#include "parallel/comm/rank_places.h"
#include "parallel/comm/rendezvous/store.h"
#include "parallel/comm/start_inquiry.h"
#include "tests/parallel/comm/rank_processes.h"

namespace switchyard {

namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

// All on this machine, by a name that is only ever compared.
StartPlaces places_of(int rank, size_t ranks) {
  return {.start = "test-" + std::to_string(::getpid()),
          .rank = rank,
          .hosts = std::vector<std::string>(ranks, "n1")};
}

// A rank that has begun, in a process of its own.
class OtherRank {
 public:
  explicit OtherRank(const StartPlaces& places) {
    int ready[2] = {};
    if (::pipe(ready) != 0) return;
    pid_ = ::fork();
    if (pid_ == 0) {
      const StartInquiry answers(places);
      [[maybe_unused]] const auto written = ::write(ready[1], "x", 1);
      for (;;) ::pause();
    }
    char byte = 0;
    [[maybe_unused]] const auto got = ::read(ready[0], &byte, 1);
    ::close(ready[0]);
    ::close(ready[1]);
  }
  ~OtherRank() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  OtherRank(const OtherRank&) = delete;
  OtherRank& operator=(const OtherRank&) = delete;
  void send(int signal) const { ::kill(pid_, signal); }

 private:
  pid_t pid_ = 0;
};

TEST(StartInquiry, NamesWhoIsNotThereAndWhoDoesNotAnswer) {
  const auto of = [](int rank) { return places_of(rank, 4); };
  const StartInquiry mine(of(0));
  const OtherRank first(of(1)), second(of(2));
  EXPECT_EQ(mine.absent_ranks(),
            "nothing from world rank 3 on n1, which is not there (it has ended, or has not begun)");
  second.send(SIGSTOP);
  EXPECT_THAT(mine.absent_ranks(),
              AllOf(HasSubstr("world rank 3 on n1, which is not there"),
                    HasSubstr("; nor from world rank 2 on n1, which does not answer (stopped"),
                    Not(HasSubstr("rank 1"))));
  second.send(SIGCONT);
  const OtherRank last(of(3));
  EXPECT_EQ(mine.absent_ranks(), "all other ranks answer");
}

// Those of another start are not this one's.
TEST(StartInquiry, AnswersItsOwnStart) {
  StartPlaces other = places_of(1, 2);
  other.start += "-restarted";
  const OtherRank first(other);
  const StartInquiry mine(places_of(0, 2));
  EXPECT_THAT(mine.absent_ranks(), HasSubstr("world rank 1 on n1, which is not there"));
}

// As many ranks of one machine as may meet at a port.
TEST(StartInquiry, RanksThatMeetAtAPortAreAllFound) {
  constexpr size_t ranks = 200;
  std::vector<std::unique_ptr<StartInquiry>> all;
  for (size_t rank = 0; rank < ranks; ++rank)
    all.push_back(std::make_unique<StartInquiry>(places_of(static_cast<int>(rank), ranks)));
  EXPECT_EQ(all[7]->absent_ranks(), "all other ranks answer");
}

// Where no other node answers the way to them may be at fault; one without an address is not asked.
TEST(StartInquiry, BlamesNoNodeForWhatMayLieOnTheWay) {
  StartPlaces places = places_of(0, 4);
  places.hosts = {"n1", "127.0.0.1", "localhost", "no host"};
  const auto of = [&](int rank) {
    StartPlaces its = places;
    its.rank = rank;
    return its;
  };
  const StartInquiry mine(places);
  const OtherRank first(of(1)), second(of(2));
  EXPECT_EQ(mine.absent_ranks(), "");
  first.send(SIGSTOP);
  EXPECT_EQ(mine.absent_ranks(),
            "nothing from world rank 1 on 127.0.0.1, which does not answer (ended, not begun or "
            "stopped, or on a node or cable that is lost)");
  second.send(SIGSTOP);
  EXPECT_EQ(mine.absent_ranks(),
            "nothing from world ranks 1 on 127.0.0.1, 2 on localhost, which do not answer (no "
            "other node does: they, or the cable of n1, are lost, or datagrams are not let "
            "through)");
}

TEST(StartInquiry, SaysNothingWhereNoPlaceIsKnown) {
  EXPECT_EQ(StartInquiry(StartPlaces{}).absent_ranks(), "");
}

// Behind the start, in a call of MPI's that does not say for whom it waits.
TEST(AbsentRanks, AreFoundAmongThoseOfAJob) {
  const int port = free_port();
  const auto said = run_processes(3, [&](int rank) -> std::string {
    const auto control = make_control_plane(
        make_tcp_store("127.0.0.1", port, {.rank = rank, .size = 3, .timeout = 20s}));
    exchange_rank_places(*control, {.host = "n" + std::to_string(1 + rank)});
    const Inquiries inquiries(*control);
    const auto pair = control->split(rank < 2 ? std::vector{0, 1} : std::vector{2}, "pair");
    const std::vector<int> all{0, 1, 2};
    std::string first = describe_absent(rank, all);
    control->barrier("all have asked");
    if (rank == 2) ::kill(::getpid(), SIGKILL);
    std::string second;
    for (int i = 0; i < 100 && second.empty(); ++i) {
      second = describe_absent(rank, all);
      std::this_thread::sleep_for(50ms);
    }
    pair->barrier("both have asked");
    return first + "|" + second;
  });
  EXPECT_EQ(
      said[0],
      "|nothing from world rank 2 on n3, which is not there (it has ended, or has not begun)");
  EXPECT_EQ(said[1], said[0]);
}

TEST(StartPlaces, AreThoseOfSrunInBlocks) {
  const std::map<const char*, const char*> step{{"SLURM_PROCID", "3"},
                                                {"SLURM_STEP_NUM_TASKS", "5"},
                                                {"SLURM_STEP_NODELIST", "n[1-2],login"},
                                                {"SLURM_STEP_TASKS_PER_NODE", "2(x2),1"},
                                                {"SLURM_JOB_ID", "17"},
                                                {"SLURM_STEP_ID", "4"}};
  for (const char* name : {"SLURM_DISTRIBUTION", "OMPI_COMM_WORLD_SIZE", "SLURM_RESTART_COUNT"})
    ::unsetenv(name);
  for (const auto& [name, value] : step) ::setenv(name, value, 1);
  EXPECT_THAT(start_places().hosts, ElementsAre("n1", "n1", "n2", "n2", "login"));
  EXPECT_EQ(start_places().rank, 3);
  EXPECT_EQ(start_places().start, "17.4.");
  ::setenv("SLURM_DISTRIBUTION", "cyclic", 1);
  EXPECT_THAT(start_places().hosts, IsEmpty());
  ::setenv("SLURM_DISTRIBUTION", "block:cyclic", 1);
  EXPECT_EQ(start_places().hosts.size(), 5U);
  ::setenv("SLURM_STEP_TASKS_PER_NODE", "2(x2)", 1);  // which do not fit the tasks
  EXPECT_THAT(start_places().hosts, IsEmpty());
  ::setenv("SLURM_STEP_TASKS_PER_NODE", "two", 1);
  EXPECT_THAT(start_places().hosts, IsEmpty());
}

}  // namespace

}  // namespace switchyard
