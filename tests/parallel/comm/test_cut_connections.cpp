#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <filesystem>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "core/error.h"
#include "parallel/comm/communicators.h"
#include "parallel/comm/control_plane.h"
#include "parallel/comm/inquiry.h"
#include "parallel/comm/lost_peers.h"
#include "parallel/comm/rendezvous/store.h"
#include "tests/parallel/comm/rank_processes.h"

namespace switchyard {
namespace {

using namespace std::chrono_literals;
using testing::Contains;
using testing::Each;
using testing::HasSubstr;
using testing::Not;

// Connections of this process to others, by their numbers.
std::set<int> connections() {
  std::set<int> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    const int number = std::stoi(entry.path().filename());
    int type = 0;
    socklen_t length = sizeof type;
    sockaddr_storage peer{};
    socklen_t peer_length = sizeof peer;
    if (::getsockopt(number, SOL_SOCKET, SO_TYPE, &type, &length) == 0 && type == SOCK_STREAM &&
        ::getpeername(number, reinterpret_cast<sockaddr*>(&peer), &peer_length) == 0 &&
        peer.ss_family == AF_INET)
      found.insert(number);
  }
  return found;
}

void cut_those_since(const std::set<int>& before) {
  for (const int number : connections())
    if (!before.contains(number)) ::shutdown(number, SHUT_RDWR);
}

std::unique_ptr<ControlPlane> control_of(int rank, int ranks, int port) {
  return make_control_plane(
      make_tcp_store("127.0.0.1", port, {.rank = rank, .size = ranks, .timeout = 20s}));
}

std::string state_of(int rank) {
  const std::array<int, 1> asked{rank};
  switch (ask_ranks(asked, 2000ms)[rank].state) {
    case PeerState::gone:
      return "gone";
    case PeerState::silent:
      return "silent";
    case PeerState::waits:
    case PeerState::busy:
      return "there";
  }
  return "";
}

// Two looks at somebody who is gone are enough for the verdict.
std::string verdict_on(int rank) {
  LostPeers peers;
  for (int i = 0; i < 50; ++i) {
    if (const auto loss = peers.look({rank})) return loss->text();
    std::this_thread::sleep_for(100ms);
  }
  return "nobody is missed";
}

// Its neighbours hear the end of the life lines, and tell all others; it is there all the same.
TEST(CutConnections, ARankThatAnswersIsNotGoneWhateverItsLifeLines) {
  constexpr int ranks = 3;
  const int port = free_port();
  const auto found = run_processes(ranks, [&](int rank) {
    const auto control = control_of(rank, ranks, port);
    control->barrier("all connections of the control plane");
    const auto before = connections();
    const Inquiries inquiries(*control);
    std::this_thread::sleep_for(500ms);  // for the lines to be there
    control->barrier("lines");
    const size_t lines = connections().size() - before.size();
    if (rank == 1) cut_those_since(before);
    std::this_thread::sleep_for(500ms);  // for the news
    control->barrier("cut");
    std::string text = fmt::format("{} lines, {}, {}", lines, state_of(1), verdict_on(1));
    control->barrier("end");
    return text;
  });
  EXPECT_THAT(found, Each("2 lines, there, nobody is missed"));
}

std::string error_of_exchange(Communicator& world) {
  Stream stream;
  std::vector<float> values(4);
  try {
    for (;;) {
      world.all_reduce(std::span(values), ReduceOp::sum, stream, {"losses"}).wait(stream);
      std::this_thread::sleep_for(20ms);
    }
  } catch (const Error& error) {
    return error.what();
  }
}

TEST(CutConnections, AConnectionThatWasCutIsNoRankThatIsGone) {
  constexpr int ranks = 3;
  const int port = free_port();
  const auto found = run_processes(ranks, [&](int rank) {
    const auto control = control_of(rank, ranks, port);
    control->barrier("all connections of the control plane");
    const auto before = connections();
    TcpEnvironment environment({.timeout = 20s, .host = "127.0.0.1"}, *control);
    std::thread cut([&] {
      std::this_thread::sleep_for(500ms);
      if (rank == 1) cut_those_since(before);
    });
    const Inquiries inquiries(*control);
    std::string text = error_of_exchange(environment.world());
    cut.join();
    std::this_thread::sleep_for(3s);  // the others may still ask
    return text;
  });
  // The first that says so ends the others.
  EXPECT_THAT(found, Contains(HasSubstr("was cut, though that rank answers")));
  EXPECT_THAT(found, Each(Not(HasSubstr("is gone"))));
}

}  // namespace
}  // namespace switchyard
