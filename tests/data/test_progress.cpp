#include <fcntl.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include <cstdlib>
#include <thread>

#include "data/progress.h"

namespace switchyard {
namespace {

using testing::EndsWith;
using testing::HasSubstr;

// What a Progress writes in 0.6 s of work to a stderr that is `descriptor`.
void work(int descriptor) {
  unsetenv("SWITCHYARD_TERMINAL");
  const int before = dup(STDERR_FILENO);
  dup2(descriptor, STDERR_FILENO);
  {
    Progress progress("eval", 40, true, {"windows", 1});
    for (int i = 0; i < 12; ++i) {
      progress.add(1);
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  }
  dup2(before, STDERR_FILENO);
  close(before);
}

std::string read_from(int descriptor) {
  std::string text;
  char part[256];
  for (ssize_t got = 0; (got = read(descriptor, part, sizeof part)) > 0;) {
    text.append(part, static_cast<size_t>(got));
  }
  return text;
}

TEST(Progress, IsOneLineOnATerminalThatGoesAway) {
  const int terminal = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK);
  ASSERT_GE(terminal, 0);
  ASSERT_EQ(grantpt(terminal), 0);
  ASSERT_EQ(unlockpt(terminal), 0);
  const int other_end = open(ptsname(terminal), O_RDWR | O_NOCTTY);
  ASSERT_GE(other_end, 0);
  work(other_end);
  const std::string text = read_from(terminal);
  EXPECT_THAT(text, HasSubstr("\r\033[Keval: 11 of 40 windows, "));
  EXPECT_THAT(text, EndsWith("\r\033[K"));
  EXPECT_EQ(text.find('\n'), std::string::npos);
  close(other_end);
  close(terminal);
}

TEST(Progress, NothingMovesInAPipe) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_NONBLOCK), 0);
  work(ends[1]);
  EXPECT_EQ(read_from(ends[0]), "");
  close(ends[0]);
  close(ends[1]);
}

TEST(Progress, DurationsAreShort) {
  EXPECT_EQ(show_duration(7.4), "0:07");
  EXPECT_EQ(show_duration(754), "12:34");
  EXPECT_EQ(show_duration(11112), "3:05:12");
  EXPECT_EQ(show_duration(1e7), "115 d 17 h");
}

}  // namespace
}  // namespace switchyard
