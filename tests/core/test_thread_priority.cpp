#include "core/thread_priority.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <thread>

namespace switchyard {
namespace {

int level() { return getpriority(PRIO_PROCESS, 0); }

TEST(ThreadPriority, OneThreadAndThoseThatItBeginsGiveWay) {
  const int before = level();
  std::thread([&] {
    give_way();
    EXPECT_EQ(level(), std::min(before + 10, 19));
    std::thread([&] { EXPECT_EQ(level(), std::min(before + 10, 19)); }).join();
  }).join();
  EXPECT_EQ(level(), before);
}

}  // namespace
}  // namespace switchyard
