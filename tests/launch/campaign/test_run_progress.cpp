#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "launch/campaign/desired_paths.h"
#include "launch/campaign/run_progress.h"

namespace switchyard {
namespace {

constexpr const char* campaign_text = R"(
folder = "none"
[train]
preset = "gpt2-tiny"
global-batch-size = 4
lr = 1e-3
[branch]
share = 0.5
[[version]]
name = "v1"
steps = 10
data-path = "d1"
)";

// What is drawn on a terminal that is so wide.
std::string drawn(int columns, const std::vector<std::string>& running) {
  const int terminal = posix_openpt(O_RDWR | O_NOCTTY);
  EXPECT_TRUE(terminal >= 0 && grantpt(terminal) == 0 && unlockpt(terminal) == 0);
  const int other_end = open(ptsname(terminal), O_RDWR | O_NOCTTY);
  winsize size{};
  size.ws_col = static_cast<unsigned short>(columns);
  EXPECT_EQ(ioctl(terminal, TIOCSWINSZ, &size), 0);
  const int before = dup(STDERR_FILENO);
  dup2(other_end, STDERR_FILENO);
  const auto campaign =
      parse_campaign(campaign_text, std::filesystem::temp_directory_path() / "campaign.toml");
  RunProgress progress;
  progress.show(campaign, desired_of(campaign), {}, running);
  progress.clear();
  progress.clear();
  dup2(before, STDERR_FILENO);
  close(before);
  close(other_end);
  // What was written comes over by and by; behind all of it reading fails.
  std::string text;
  char part[512];
  for (ssize_t got = 0; (got = read(terminal, part, sizeof part)) > 0;)
    text.append(part, static_cast<size_t>(got));
  close(terminal);
  return text;
}

TEST(RunProgress, IsOneLineOnATerminalThatGoesAway) {
  EXPECT_EQ(drawn(100, {"main", "score/main/v1/web"}),
            "\r\033[K0% of 10 steps; main at step 0 of 5; score/main/v1/web\r\033[K");
}

TEST(RunProgress, IsNoLongerThanTheTerminalIsWide) {
  EXPECT_EQ(drawn(20, {"main", "score/main/v1/web"}), "\r\033[K0% of 10 steps; mai\r\033[K");
}

}  // namespace
}  // namespace switchyard
