#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <string>
#include <thread>

#include "core/stop_signal.h"

namespace switchyard {
namespace {

using namespace std::chrono_literals;

TEST(StopSignal, TheSameRequestMayComeTwice) {
  const StopSignal signals;
  EXPECT_FALSE(StopSignal::requested());
  std::raise(SIGUSR1);
  std::raise(SIGTERM);
  EXPECT_TRUE(StopSignal::requested());
}

TEST(StopSignal, ALaterOneEndsAtOnce) {
  EXPECT_EXIT(
      {
        const StopSignal signals;
        std::raise(SIGUSR1);
        std::this_thread::sleep_for(2100ms);
        std::raise(SIGTERM);
        std::exit(0);
      },
      testing::ExitedWithCode(130), "ends at once by a second signal");
}

// What a rank says of two TERMs of its parent's, the second of which ends it.
std::string said_behind_two(const char* variable) {
  std::array<int, 2> errors{};
  EXPECT_EQ(pipe(errors.data()), 0);
  const pid_t child = fork();
  if (child == 0) {
    for (const char* name : {"SWITCHYARD_LAUNCHED", "SLURM_STEP_ID"}) unsetenv(name);
    if (variable != nullptr) setenv(variable, "1", 1);
    dup2(errors[1], STDERR_FILENO);
    const StopSignal signals;
    if (write(STDERR_FILENO, "ready ", 6) != 6) _exit(1);
    for (;;) pause();
  }
  close(errors[1]);
  std::array<char, 256> text{};
  std::string all;
  const auto take = [&] {
    const ssize_t got = read(errors[0], text.data(), text.size());
    all.append(text.data(), static_cast<size_t>(std::max<ssize_t>(0, got)));
    return got > 0;
  };
  take();
  kill(child, SIGTERM);
  std::this_thread::sleep_for(2100ms);
  kill(child, SIGTERM);
  while (take()) {
  }
  int state = 0;
  waitpid(child, &state, 0);
  close(errors[0]);
  EXPECT_TRUE(WIFEXITED(state) && WEXITSTATUS(state) == 130);
  return all;
}

TEST(StopSignal, OfALauncherThatTidiesUpNothingIsSaid) {
  EXPECT_EQ(said_behind_two("SWITCHYARD_LAUNCHED"), "ready ");
  EXPECT_EQ(said_behind_two("SLURM_STEP_ID"), "ready ");
  EXPECT_EQ(said_behind_two(nullptr), "ready switchyard: ends at once by a second signal\n");
}

TEST(StopSignal, AnInterruptNeedsNoPause) {
  EXPECT_EXIT(
      {
        const StopSignal signals;
        std::raise(SIGTERM);
        std::raise(SIGINT);
        std::exit(0);
      },
      testing::KilledBySignal(SIGINT), "");
}

}  // namespace
}  // namespace switchyard
