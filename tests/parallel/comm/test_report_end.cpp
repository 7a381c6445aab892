#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <future>
#include <string>
#include <thread>

#include "core/error.h"
#include "parallel/comm/communicators.h"
#include "parallel/comm/control_plane.h"
#include "parallel/comm/inquiry.h"

namespace switchyard {

namespace {

using namespace std::chrono_literals;
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

// Whose line takes its time, as into a pipe that nobody reads.
class BlockedErrors {
 public:
  BlockedErrors() : kept_(dup(STDERR_FILENO)) {
    check(pipe(ends_) == 0 && dup2(ends_[1], STDERR_FILENO) >= 0, "test", "no pipe");
    fcntl(ends_[1], F_SETFL, O_NONBLOCK);
    const std::string page(4096, '.');
    while (write(ends_[1], page.data(), page.size()) > 0) {
    }
    fcntl(ends_[1], F_SETFL, 0);
  }
  ~BlockedErrors() {
    dup2(kept_, STDERR_FILENO);
    for (const int end : {kept_, ends_[0], ends_[1]}) close(end);
  }
  void read_all() {
    std::string text(1 << 20, 0);
    check(read(ends_[0], text.data(), text.size()) > 0, "test", "nothing in the pipe");
  }

 private:
  int kept_, ends_[2];
};

// It might end the process, and the line would be lost.
TEST(ReportEnd, ASecondThreadWaitsUntilTheFirstHasSaidIt) {
  const auto world = make_self_communicator();
  const Inquiries inquiries(world->control());
  std::string first = "of the first", second = "of the second";
  BlockedErrors errors;
  auto one = std::async(std::launch::async, [&] { report_end(ExitCode::timed_out, first); });
  std::this_thread::sleep_for(100ms);
  auto other = std::async(std::launch::async, [&] { report_end(ExitCode::timed_out, second); });
  EXPECT_EQ(other.wait_for(200ms), std::future_status::timeout);
  errors.read_all();
  one.get();
  other.get();
  EXPECT_THAT(second, HasSubstr("behind: of the first"));
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
