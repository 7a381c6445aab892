#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <new>
#include <system_error>
#include <thread>

#include "core/error.h"
#include "core/error_words.h"

namespace switchyard {
namespace {

using testing::AllOf;
using testing::ExitedWithCode;
using testing::HasSubstr;
using testing::KilledBySignal;

const std::system_error no_thread{std::make_error_code(std::errc::resource_unavailable_try_again)};

template <class Problem>
void throw_in_a_thread(const Problem& problem) {
  say_uncaught_errors();
  std::thread([&] { throw problem; }).join();
}

TEST(ErrorWords, SayWhatMayLimitMemoryAndThreads) {
  EXPECT_THAT(words_of(std::bad_alloc()), AllOf(HasSubstr("[memory] "), HasSubstr("ulimit -v")));
  EXPECT_THAT(words_of(no_thread), AllOf(HasSubstr("[memory] "), HasSubstr("ulimit -u"),
                                         HasSubstr("Resource temporarily unavailable")));
  EXPECT_EQ(words_of(Error("[place] what")), "[place] what");
}

TEST(ErrorWordsDeathTest, WhatNoThreadCatchesIsSaidInOneLine) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(throw_in_a_thread(std::bad_alloc()), ExitedWithCode(1),
              "^switchyard: \\[memory\\] this process is given no more memory; [^\n]*\n$");
  EXPECT_EXIT(throw_in_a_thread(no_thread), ExitedWithCode(1),
              "^switchyard: \\[memory\\] the system starts no more threads: [^\n]*\n$");
  EXPECT_EXIT(throw_in_a_thread(Error("[place] what")), KilledBySignal(SIGABRT),
              "^switchyard: \\[place\\] what\n$");
}

}  // namespace
}  // namespace switchyard
