#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "parallel/comm/communicators.h"
#include "tests/parallel/comm/control_cases.h"
#include "tests/parallel/comm/rank_processes.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {

namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::HasSubstr;

void check_all(ControlPlane& control, int rounds) {
  check_texts(control);
  check_agreement(control);
  check_groups(control);
  check_two_threads(control, rounds);
}

TEST(ControlPlane, OfOneRank) { check_all(make_self_communicator()->control(), 20); }

TEST(ControlPlane, OfThreads) {
  for (const int ranks : {2, 5})
    run_thread_ranks(ranks, {}, [](Communicator& world) { check_all(world.control(), 100); });
  run_thread_ranks(3, {.delay_and_poison = true, .seed = 1},
                   [](Communicator& world) { check_all(world.control(), 20); });
}

TEST(ControlPlane, PrintsOnceAndTellsAll) {
  testing::internal::CaptureStderr();
  run_thread_ranks(3, {}, [](Communicator& world) {
    const auto body = [&] {
      if (world.rank() > 0) throw std::runtime_error("without a label");
    };
    EXPECT_THROW(world.control().agree(body), AgreedError);
  });
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "switchyard: without a label (rank 1)\n");
}

TEST(ControlPlane, GroupsHaveNone) {
  run_thread_ranks(2, {}, [](Communicator& world) {
    const auto group = world.split(0, world.rank(), "dp");
    EXPECT_THROW(group->control(), Error);
  });
}

TEST(ControlPlane, AThreadThatIsMissed) {
  try {
    run_thread_ranks(3, {}, [](Communicator& world) {
      if (world.rank() != 1) world.control().barrier("meeting");
    });
    ADD_FAILURE() << "nobody was missed";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("world rank 1 has ended"), HasSubstr("meeting")));
    EXPECT_EQ(error.code(), ExitCode::lost_peer);
  }
}

// Ranks that are processes, and agree through a store.
class StoreControl : public testing::TestWithParam<const char*> {
 protected:
  bool tcp() const { return std::string(GetParam()) == "tcp"; }
  std::vector<std::string> run(int ranks, std::chrono::milliseconds timeout,
                               const std::function<std::string(ControlPlane&)>& body) {
    const int port = free_port();
    return run_processes(ranks, [&](int rank) {
      const Store::Options options{.rank = rank, .size = ranks, .timeout = timeout};
      try {
        const auto control =
            make_control_plane(tcp() ? make_tcp_store("127.0.0.1", port, options)
                                     : make_file_store(folder.path().string(), options));
        return body(*control);
      } catch (const Error& error) {
        return fmt::format("{} code {}", error.what(), static_cast<int>(error.code()));
      }
    });
  }
  // Keys; each rank's mark is a folder.
  std::ptrdiff_t files() const {
    return std::ranges::count_if(
        std::filesystem::directory_iterator(folder.path()),
        [](const std::filesystem::directory_entry& entry) { return entry.is_regular_file(); });
  }

  const test::TemporaryFolder folder;
};

TEST_P(StoreControl, AllOperations) {
  const auto texts = run(4, 60s, [&](ControlPlane& control) {
    check_all(control, tcp() ? 300 : 20);
    return std::string("done");
  });
  EXPECT_EQ(texts, std::vector<std::string>(4, "done"));
  EXPECT_LE(files(), 2 + 6);  // the last result of each control plane, two and those of groups
}

TEST_P(StoreControl, ThousandsOfExchangesLeaveNothing) {
  const int rounds = tcp() ? 3000 : 200;
  const auto texts = run(2, 60s, [&](ControlPlane& control) {
    for (int i = 0; i < rounds; ++i) control.broadcast("text", "again");
    return std::string("done");
  });
  EXPECT_EQ(texts, std::vector<std::string>(2, "done"));
  EXPECT_LE(files(), 1);
}

TEST_P(StoreControl, TheTimeoutNamesTheRankThatIsMissing) {
  const auto texts = run(3, 1000ms, [&](ControlPlane& control) {
    if (control.rank() == 1) std::this_thread::sleep_for(3s);
    control.agree([] {});
    return std::string("agreed");
  });
  EXPECT_THAT(texts[0],
              AllOf(HasSubstr("rank 0 of 3"), HasSubstr("agreement on errors, from rank 1"),
                    HasSubstr("1000 ms (the timeout)"), HasSubstr("nothing from world rank 1"),
                    HasSubstr("code 77")));
  // Rank 0 ends, and with it the store over TCP.
  EXPECT_THAT(texts[2],
              AllOf(HasSubstr("agreement on errors"), HasSubstr(tcp() ? "code 76" : "code 77")));
}

class TcpStoreControl : public StoreControl {};

// They may not have come through the first exchange yet, where its rank was needed, too.
// Files tell of no death; the timeout does.
TEST_P(TcpStoreControl, ARankThatDiesEndsTheWaitOfTheOthers) {
  const auto begin = std::chrono::steady_clock::now();
  for (const int dies : {1, 0}) {
    const auto texts = run(3, 60s, [&](ControlPlane& control) {
      if (control.rank() == dies) std::_Exit(9);
      control.barrier("meeting");
      return std::string("met");
    });
    // Whose store is gone meets that as it sets its text or waits for the others'.
    const std::string who = dies == 1 ? "world rank 1 on " : "rank 2 of 3 ";
    EXPECT_THAT(texts[2], AllOf(HasSubstr(who), HasSubstr("control "), HasSubstr("code 76")));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 20s);
}

INSTANTIATE_TEST_SUITE_P(Stores, TcpStoreControl, testing::Values("tcp"));
INSTANTIATE_TEST_SUITE_P(Stores, StoreControl, testing::Values("tcp", "file"));

}  // namespace

}  // namespace switchyard
