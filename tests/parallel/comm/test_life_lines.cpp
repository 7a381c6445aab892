#include "parallel/comm/life_lines.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <future>
#include <mutex>
#include <optional>
#include <set>
#include <thread>

#include "parallel/comm/rendezvous/tcp_socket.h"

namespace switchyard {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

// Three ranks of this machine, of which the middle one may be a process of its own.
class Lines : public testing::Test {
 protected:
  Lines() {
    for (int rank = 0; rank < 3; ++rank) {
      sockets_.push_back(LifeLines::listen_at(0));
      sockaddr_in address{};
      socklen_t length = sizeof address;
      getsockname(sockets_.back().number(), reinterpret_cast<sockaddr*>(&address), &length);
      ports_.push_back(ntohs(address.sin_port));
    }
  }
  std::shared_ptr<const InquiryTable> table(int rank) const {
    auto of = std::make_shared<InquiryTable>();
    of->token = "token";
    of->rank = rank;
    for (const int port : ports_) of->ranks.push_back(own_address(port));
    of->mine = of->ranks[static_cast<size_t>(rank)];
    return of;
  }
  void begin(int rank) {
    const auto place = static_cast<size_t>(rank);
    lines_[place].emplace(table(rank), std::move(sockets_[place]), [this, place](int lost) {
      const std::lock_guard lock(mutex_);
      lost_[place].insert(lost);
    });
  }
  std::set<int> lost(size_t rank) {
    const std::lock_guard lock(mutex_);
    return lost_[rank];
  }
  bool within_seconds(const std::function<bool()>& condition) {
    for (int i = 0; i < 500 && !condition(); ++i) std::this_thread::sleep_for(20ms);
    return condition();
  }

  std::mutex mutex_;
  std::vector<Descriptor> sockets_;
  std::vector<int> ports_;
  std::set<int> lost_[3];
  std::optional<LifeLines> lines_[3];
};

TEST_F(Lines, BothNeighboursSeeAProcessEndWithoutAGoodBye) {
  const pid_t child = fork();
  if (child == 0) {
    const LifeLines own(table(1), std::move(sockets_[1]), [](int) {});
    sockets_.clear();
    for (;;) pause();
  }
  sockets_[1] = Descriptor();
  begin(0);
  begin(2);
  std::this_thread::sleep_for(500ms);  // to find each other
  EXPECT_THAT(lost(0), IsEmpty());
  kill(child, SIGKILL);
  EXPECT_TRUE(within_seconds([&] { return !lost(0).empty() && !lost(2).empty(); }));
  EXPECT_THAT(lost(0), ElementsAre(1));
  EXPECT_THAT(lost(2), ElementsAre(1));
  waitpid(child, nullptr, 0);
}

TEST_F(Lines, WhoSaysGoodByeIsNotMissed) {
  for (int rank = 0; rank < 3; ++rank) begin(rank);
  std::this_thread::sleep_for(300ms);
  lines_[1].reset();
  std::this_thread::sleep_for(300ms);
  EXPECT_THAT(lost(0), IsEmpty());
  EXPECT_THAT(lost(2), IsEmpty());
}

TEST_F(Lines, StrangersAreNobody) {
  begin(0);
  for (const std::string text : {"", "GET / HTTP/1.1\n", "token 2", "other 1\n", "token x\n"}) {
    const TcpSocket stranger = connect_tcp("127.0.0.1", ports_[0]);
    ASSERT_TRUE(static_cast<bool>(stranger));
    stranger.write(text.data(), text.size());
  }
  std::this_thread::sleep_for(300ms);
  EXPECT_THAT(lost(0), IsEmpty());
}

}  // namespace
}  // namespace switchyard
