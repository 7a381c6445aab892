#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <fstream>
#include <mutex>
#include <thread>

#include "core/fault_report.h"
#include "core/files.h"
#include "tests/support/temporary_folder.h"

// What a stack names: a function that the program exports.
extern "C" __attribute__((noinline, visibility("default"))) void wait_for_the_test(
    std::mutex& held) {
  const std::lock_guard waits(held);
  asm volatile("");  // so that it stays a frame of its own
}

namespace switchyard {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

FaultPlace place_in(const std::filesystem::path& run,
                    const std::string& start = "20261130T001820") {
  return {.run = run, .start = start, .rank = 3, .who = "world rank 3 of 8 on n2"};
}

void make_path(const std::filesystem::path& run) { std::ofstream(run / "path.json") << "{}"; }

TEST(FaultReport, HoldsWhatWentWrongAndTheStacksOfAllThreads) {
  const test::TemporaryFolder folder;
  make_path(folder.path());
  set_fault_place(place_in(folder.path()));
  std::mutex held;
  held.lock();
  std::thread other([&] { wait_for_the_test(held); });
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  const std::string where = write_fault_report("nothing from world rank 2 on n1");
  const std::string again = write_fault_report("a later one");
  held.unlock();
  other.join();
  EXPECT_THAT(where, HasSubstr("; stacks in " + (folder.path() / "faults").string()));
  EXPECT_EQ(again, where);
  const auto text = read_file(folder.path() / "faults" / "20261130T001820-rank-3.txt");
  EXPECT_THAT(text,
              AllOf(HasSubstr("world rank 3 of 8 on n2\nnothing from world rank 2 on n1\n"),
                    HasSubstr("which writes this:\n"), HasSubstr("stack:\n"),
                    HasSubstr("(wait_for_the_test+0x"), testing::Not(HasSubstr("a later one"))));
  EXPECT_LT(text.size(), 20'000u);
}

TEST(FaultReport, LeavesNothingBesideAPathThatIsNotThereYet) {
  const test::TemporaryFolder folder;
  set_fault_place(place_in(folder.path()));
  EXPECT_THAT(write_fault_report("too early"), IsEmpty());
  EXPECT_FALSE(exists(folder.path() / "faults"));
}

// Nobody reads a pipe: to open it for writing lasts as long as a file server that does not answer.
TEST(FaultReport, IsGivenUpWhereTheDiskDoesNotAnswer) {
  const test::TemporaryFolder folder;
  make_path(folder.path());
  const auto faults = folder.path() / "faults", pipe = faults / "20261130T001820-rank-3.txt";
  create_directory(faults);
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  set_fault_place(place_in(folder.path()));
  const std::string said = "; stacks cannot be written: " + faults.string() + " does not answer";
  EXPECT_EQ(write_fault_report("a fault"), said);
  EXPECT_EQ(write_fault_report("a later one"), said);
  EXPECT_FALSE(read_file(pipe).empty());  // it answers again, and the thread ends
  set_fault_place(place_in(folder.path()));
}

TEST(FaultReport, IsWrittenByAFatalSignal) {
  const test::TemporaryFolder folder;
  make_path(folder.path());
  EXPECT_EXIT(
      {
        report_fatal_signals("rank 3");
        set_fault_place(place_in(folder.path()));
        std::raise(SIGSEGV);
      },
      testing::KilledBySignal(SIGSEGV), "switchyard: rank 3 ends by SIGSEGV; stacks in ");
  EXPECT_THAT(read_file(folder.path() / "faults" / "20261130T001820-rank-3.txt"),
              AllOf(HasSubstr("rank 3 ends by SIGSEGV\n"), HasSubstr("which writes this:\n")));
}

TEST(FaultReport, TellsTheLauncherWhere) {
  const test::TemporaryFolder folder;
  const auto note = folder.path() / "note";
  setenv("SWITCHYARD_FAULTS_NOTE", note.c_str(), 1);
  set_fault_place(place_in(folder.path()));
  unsetenv("SWITCHYARD_FAULTS_NOTE");
  EXPECT_EQ(read_file(note), (folder.path() / "faults").string() + "\n20261130T001820\n");
}

TEST(FaultReport, OldOnesGo) {
  const test::TemporaryFolder folder;
  make_path(folder.path());
  for (int start = 0; start < 5; ++start)
    for (int rank = 0; rank < 2; ++rank) {
      auto place = place_in(folder.path(), "2026113" + std::to_string(start) + "T000000");
      place.rank = rank;
      set_fault_place(place);
      write_fault_report("a fault");
    }
  keep_newest_faults(folder.path(), 3);
  size_t left = 0;
  for (const auto& file : std::filesystem::directory_iterator(folder.path() / "faults")) {
    EXPECT_GE(file.path().filename().string(), "20261132");
    ++left;
  }
  EXPECT_EQ(left, 6u);
}

}  // namespace
}  // namespace switchyard
