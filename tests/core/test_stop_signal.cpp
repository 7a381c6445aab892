#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
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
