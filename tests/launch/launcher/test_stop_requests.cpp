// Which signals are one request to a launcher, and which are more.
#include <gtest/gtest.h>

#include <csignal>

#include "launch/launcher/stop_requests.h"

namespace switchyard::test {
namespace {

using std::chrono::milliseconds;

// How many requests two signals are, so far apart.
int requests(int first, int second, milliseconds apart) {
  const StopRequests::Clock::time_point begin(milliseconds(50'000));
  StopRequests requests;
  EXPECT_TRUE(requests.take(first, begin));
  requests.take(second, begin + apart);
  EXPECT_EQ(requests.first(), first);
  return requests.count();
}

TEST(StopRequests, WhatComesWithinTwoSecondsIsOne) {
  for (const int first : {SIGUSR1, SIGTERM, SIGINT, SIGHUP})
    for (const int second : {SIGUSR1, SIGTERM, SIGHUP}) {
      EXPECT_EQ(requests(first, second, milliseconds(0)), 1) << first << " " << second;
      EXPECT_EQ(requests(first, second, milliseconds(1'999)), 1) << first << " " << second;
      EXPECT_EQ(requests(first, second, milliseconds(2'000)), 2) << first << " " << second;
    }
}

TEST(StopRequests, AnInterruptIsOneOfItsOwn) {
  for (const int first : {SIGUSR1, SIGTERM, SIGINT})
    EXPECT_EQ(requests(first, SIGINT, milliseconds(100)), 2) << first;
}

TEST(StopRequests, AThirdBehindASecond) {
  const StopRequests::Clock::time_point begin(milliseconds(50'000));
  StopRequests requests;
  EXPECT_EQ(requests.first(), 0);
  EXPECT_TRUE(requests.take(SIGUSR1, begin));
  EXPECT_TRUE(requests.take(SIGTERM, begin + milliseconds(3'000)));
  EXPECT_FALSE(requests.take(SIGTERM, begin + milliseconds(3'700)));
  EXPECT_TRUE(requests.take(SIGTERM, begin + milliseconds(6'000)));
  EXPECT_EQ(requests.count(), 3);
}

}  // namespace
}  // namespace switchyard::test
