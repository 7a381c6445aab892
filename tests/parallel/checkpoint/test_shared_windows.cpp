#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "core/error.h"
#include "parallel/checkpoint/shared_windows.h"

// Memory that ranks share, and what becomes of it when one of them does not do its part.
namespace switchyard {
namespace {

constexpr size_t window_count = 150;  // more than there is room for

std::vector<SharedWindow> windows_for(int ranks) {
  std::vector<SharedWindow> windows;
  for (size_t i = 0; i < window_count; ++i) {
    const int64_t begin = static_cast<int64_t>(i) * window_bytes;
    windows.push_back({0, begin, begin + 4096, (uint64_t{1} << ranks) - 1});
  }
  return windows;
}

// Each visits all windows, in order; returns how many it found with other bytes than theirs.
class Rank {
 public:
  Rank(const std::string& invitation, std::span<const SharedWindow> windows, int rank)
      : pages_(SharedPages::join(invitation)),
        all_(std::move(pages_.value()), windows, rank, std::vector<int32_t>(windows.size(), 1)) {}

  int visit(size_t window, std::atomic<int>& fills) {
    int wrong = 0;
    const auto fill = [&](size_t number, std::byte* out) {
      ++fills;
      std::memset(out, static_cast<int>(number), 4096);
    };
    const bool found = all_.visit(window, fill, [&](const std::byte* bytes) {
      for (int i = 0; i < 4096; ++i) wrong += static_cast<uint8_t>(bytes[i]) != window % 256;
    });
    return found ? wrong : 1;
  }
  int visit_all(std::atomic<int>& fills) {
    int wrong = 0;
    for (size_t i = 0; i < window_count; ++i) wrong += visit(i, fills) != 0;
    return wrong;
  }
  SharedWindows& all() { return all_; }

 private:
  std::optional<SharedPages> pages_;
  SharedWindows all_;
};

TEST(SharedPages, AreOneMemoryThatIsFoundByItsInvitationAlone) {
  const auto made = SharedPages::make(1 << 20);
  ASSERT_TRUE(made);
  const auto joined = SharedPages::join(made->invitation());
  ASSERT_TRUE(joined);
  EXPECT_NE(joined->data(), made->data());
  made->data()[77] = std::byte{5};
  EXPECT_EQ(joined->data()[77], std::byte{5});
  EXPECT_EQ(joined->data()[78], std::byte{0});
  const auto another = SharedPages::make(1 << 20);  // what a stranger may have at that number
  std::string wrong = another->invitation();
  wrong.replace(wrong.rfind(' '), std::string::npos, "");
  const std::string inode = made->invitation();
  EXPECT_FALSE(SharedPages::join(wrong + inode.substr(inode.rfind(' '))));
  for (const char* none : {"", "1", "0 0 4096 0 0"}) EXPECT_FALSE(SharedPages::join(none));
}

TEST(SharedPages, AreNoneWhereTheyCannotBeMapped) {
  const auto made = SharedPages::make(int64_t{1} << 20);
  ASSERT_TRUE(made);
  rlimit usual{};
  ASSERT_EQ(getrlimit(RLIMIT_AS, &usual), 0);
  const rlimit less{1 << 20, usual.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_AS, &less), 0);
  const bool joined = SharedPages::join(made->invitation()).has_value();
  const bool another = SharedPages::make(int64_t{1} << 20).has_value();
  ASSERT_EQ(setrlimit(RLIMIT_AS, &usual), 0);
  EXPECT_FALSE(joined);
  EXPECT_FALSE(another);
}

TEST(SharedWindows, AreMostlyReadOnceByWhoeverComesFirst) {
  constexpr int ranks = 3;
  const auto windows = windows_for(ranks);
  const auto made = SharedPages::make(SharedWindows::bytes_for(windows.size()));
  ASSERT_TRUE(made);
  std::atomic<int> fills = 0, wrong = 0;
  std::vector<std::thread> threads;
  threads.reserve(ranks);
  for (int rank = 0; rank < ranks; ++rank) {
    threads.emplace_back(
        [&, rank] { wrong += Rank(made->invitation(), windows, rank).visit_all(fills); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_GE(fills, static_cast<int>(window_count));
  EXPECT_LT(fills, 2 * static_cast<int>(window_count));
}

TEST(SharedWindows, AFailedReadIsLeftToTheNext) {
  const auto windows = windows_for(2);
  const auto made = SharedPages::make(SharedWindows::bytes_for(windows.size()));
  ASSERT_TRUE(made);
  Rank first(made->invitation(), windows, 0), second(made->invitation(), windows, 1);
  const auto fails = [](size_t, std::byte*) { fail("test", "no such file"); };
  EXPECT_THROW(first.all().visit(0, fails, [](const std::byte*) {}), Error);
  std::atomic<int> fills = 0;
  EXPECT_EQ(second.visit(0, fills), 0);
  EXPECT_EQ(fills, 1);
  EXPECT_EQ(first.visit(0, fills), 0);
  EXPECT_EQ(fills, 1);
}

// The second rank never comes, and never says so: there is room for others all the same.
TEST(SharedWindows, NobodyWaitsLongForOneWhoDoesNotMove) {
  const auto windows = windows_for(2);
  const auto made = SharedPages::make(SharedWindows::bytes_for(windows.size()));
  ASSERT_TRUE(made);
  Rank silent(made->invitation(), windows, 1);
  std::atomic<int> fills = 0;
  EXPECT_EQ(Rank(made->invitation(), windows, 0).visit_all(fills), 0);
  EXPECT_EQ(silent.visit_all(fills), 0);  // when it comes in the end, it finds all
  EXPECT_LE(fills, 2 * static_cast<int>(window_count));
}

TEST(SharedWindows, OneThatIsKilledWhileItReadsHoldsUpNobody) {
  const auto windows = windows_for(3);
  const auto made = SharedPages::make(SharedWindows::bytes_for(windows.size()));
  ASSERT_TRUE(made);
  const std::string invitation = made->invitation();
  std::atomic<int> fills = 0;
  for (const bool reads : {true, false}) {  // the other one is killed while it copies
    const pid_t child = fork();
    if (child == 0) {
      Rank killed(invitation, windows, reads ? 1 : 2);
      const auto dies = [](bool now) { now ? static_cast<void>(raise(SIGKILL)) : void(); };
      killed.all().visit(
          reads ? 3 : 5, [&](size_t, std::byte*) { dies(reads); },
          [&](const std::byte*) { dies(true); });
      std::_Exit(1);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));
  }
  Rank left(invitation, windows, 0);
  int wrong = 0;
  for (size_t i = 0; i < window_count; ++i) wrong += i != 5 && left.visit(i, fills) != 0;
  EXPECT_EQ(wrong, 0);
  for (const auto& entry : std::filesystem::directory_iterator("/dev/shm"))
    EXPECT_THAT(entry.path().string(), testing::Not(testing::HasSubstr("switchyard-reads")));
}

}  // namespace
}  // namespace switchyard
