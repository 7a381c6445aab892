#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "core/error.h"
#include "parallel/comm/communicators.h"
#include "parallel/comm/control_plane.h"
#include "parallel/comm/inquiry.h"

namespace switchyard {

namespace {

using testing::HasSubstr;
using testing::Not;

// A thread that saves finds the culprit; what the main thread then meets is its consequence.
TEST(ReportEnd, ALaterErrorOfTheProcessNamesTheFirst) {
  const auto world = make_self_communicator();
  const Inquiries inquiries(world->control());
  std::string first = "no end; nothing from world rank 3 on n2", second = "world rank 5 is gone";
  report_end(ExitCode::timed_out, first);
  report_end(ExitCode::lost_peer, second);
  EXPECT_THAT(first, HasSubstr("world rank 3 on n2"));
  EXPECT_THAT(second, HasSubstr("world rank 5 is gone; behind: no end; nothing from world rank 3"));
}

TEST(ReportEnd, AnotherJobOfTheProcessBeginsAnew) {
  const auto world = make_self_communicator();
  for (const char* text : {"of the first job", "of the second job"}) {
    const Inquiries inquiries(world->control());
    std::string said = text;
    report_end(ExitCode::timed_out, said);
    EXPECT_THAT(said, Not(HasSubstr("behind:")));
  }
}

}  // namespace

}  // namespace switchyard
