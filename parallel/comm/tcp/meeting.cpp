#include "parallel/comm/tcp/meeting.h"

#include <fmt/ranges.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <random>
#include <thread>

#include "core/text.h"
#include "parallel/comm/rendezvous/network_interfaces.h"
#include "parallel/comm/rendezvous/tcp_socket.h"
#include "parallel/comm/tcp/frame.h"

// Each rank listens, all tell each other where, and each connects to those below it.
namespace switchyard {

namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

// A connection begins with this; strangers do not know the token.
struct Greeting {
  uint64_t token = 0;
  uint32_t frame_bytes = sizeof(Frame);
  uint32_t rank = 0;
};

std::vector<std::string> tell_all(ControlPlane& control, const std::string& mine) {
  std::string joined;
  for (const std::string& each : control.gather(mine, "addresses of ranks")) {
    joined += each;
    joined += '\n';
  }
  const std::string all = control.broadcast(joined, "addresses of ranks");
  std::vector<std::string> lines;
  for (const auto line : split_at('\n', all)) lines.emplace_back(line);
  lines.resize(static_cast<size_t>(control.size()));
  return lines;
}

bool is_loopback(const std::string& address) { return address.starts_with("127."); }

// A rank beside rank 0 may know its machine by a name that leads to the loopback; others cannot.
std::string choose_address(const Meeting& meeting, ControlPlane& control) {
  std::string host = meeting.host;
  if (host.empty()) host = control.broadcast(first_address(), "address of rank 0");
  std::string mine;
  control.agree([&] {
    if (!meeting.interface_name.empty()) mine = address_of_interface(meeting.interface_name);
    if (mine.empty()) mine = address_towards(host);
    check(!mine.empty(), "launch",
          "rank {} finds no route to {}, where rank 0 is said to be; --interface names the one to "
          "be reached by",
          control.rank(), host);
  });
  const auto all = tell_all(control, mine);
  const auto open = std::ranges::find_if_not(all, is_loopback);
  if (open == all.end() || !is_loopback(mine)) return mine;
  const std::string instead = address_towards(*open);
  return instead.empty() ? mine : instead;
}

struct Place {
  std::string address{};
  int port = 0;
  std::string memory{};  // of a MemoryProbe
};

Place place_of(const std::string& text) {
  const auto words = split_at('\t', text);
  check(words.size() == 3, "launch", "a rank says that it listens at '{}', which is no place",
        text);
  return {.address = std::string(words[0]),
          .port = parse_number<int>(words[1]).value_or(0),
          .memory = std::string(words[2])};
}

uint64_t random_token() {
  std::random_device device;
  return static_cast<uint64_t>(device()) << 32 | device();
}

class Meet {
 public:
  Meet(const Meeting& meeting, ControlPlane& control)
      : rank_(control.rank()),
        timeout_(meeting.timeout),
        peers_(static_cast<size_t>(control.size())) {
    const std::string address = choose_address(meeting, control);
    control.agree([&] { check_descriptors(control.size(), control.size() + other_descriptors); });
    control.agree([&] {
      listening_ = listen_tcp(0, address);
      check(static_cast<bool>(listening_), "launch", "rank {} cannot listen at {}: {}", rank_,
            address, std::strerror(errno));
    });
    token_ = parse_number<uint64_t>(
                 control.broadcast(std::to_string(random_token()), "token of this start"))
                 .value_or(0);
    const MemoryProbe probe(token_);
    for (const std::string& text :
         tell_all(control, fmt::format("{}\t{}\t{}", address, port_of(listening_), probe.where())))
      places_.push_back(place_of(text));
    deadline_ = Clock::now() + timeout_;
    for (int below = 0; below < rank_; ++below) connect_to(below);
    while (!missing().empty()) accept_one();
    if (meeting.through_memory) find_readable(probe);
    control.barrier("all ranks are connected");  // and done with this one's probe
  }
  std::vector<TcpPeer> take() { return std::move(peers_); }

 private:
  std::chrono::milliseconds left() const {
    return std::max<std::chrono::milliseconds>(
        std::chrono::ceil<std::chrono::milliseconds>(deadline_ - Clock::now()), 1ms);
  }

  // Those of this machine: namespaces that stand for machines have addresses of their own.
  void find_readable(const MemoryProbe& probe) {
    const std::string& here = places_[static_cast<size_t>(rank_)].address;
    for (size_t i = 0; i < peers_.size(); ++i)
      if (static_cast<int>(i) != rank_ && places_[i].address == here)
        peers_[i].readable_process = probe.process_at(places_[i].memory);
  }

  std::vector<int> missing() const {
    std::vector<int> ranks;
    for (int i = 0; i < static_cast<int>(peers_.size()); ++i)
      if (i != rank_ && !peers_[static_cast<size_t>(i)].socket) ranks.push_back(i);
    return ranks;
  }

  void connect_to(int peer) {
    const Place& place = places_[static_cast<size_t>(peer)];
    for (;;) {
      TcpSocket connection = connect_tcp(place.address, place.port, left());
      const Greeting mine{.token = token_, .rank = static_cast<uint32_t>(rank_)};
      if (connection && connection.write(&mine, sizeof mine))
        return keep(peer, std::move(connection));
      check(Clock::now() < deadline_, ExitCode::timed_out, "tcp",
            "rank {} cannot reach rank {} at {}:{} within {} ms (the timeout): {}", rank_, peer,
            place.address, place.port, timeout_.count(), std::strerror(errno));
      std::this_thread::sleep_for(20ms);
    }
  }

  void accept_one() {
    pollfd waiting{.fd = listening_.descriptor(), .events = POLLIN, .revents = 0};
    const int ready = ::poll(&waiting, 1, static_cast<int>(left().count()));
    check(ready != 0 || Clock::now() < deadline_, ExitCode::timed_out, "tcp",
          "rank {} waits at {} for connections of ranks {}, which have not come within {} ms (the "
          "timeout)",
          rank_, places_[static_cast<size_t>(rank_)].address, fmt::join(missing(), " "),
          timeout_.count());
    if (ready <= 0) return;
    TcpSocket connection(::accept4(listening_.descriptor(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!connection) return;
    connection.set_timeout(std::min<std::chrono::milliseconds>(left(), 2s));
    Greeting theirs;
    if (!connection.read(&theirs, sizeof theirs) || theirs.token != token_ ||
        theirs.frame_bytes != sizeof(Frame) || theirs.rank >= peers_.size())
      return;
    keep_alive(connection);
    keep(static_cast<int>(theirs.rank), std::move(connection));
  }

  void keep(int peer, TcpSocket connection) {
    notice_loss_within(connection, timeout_);
    connection.never_block();
    peers_[static_cast<size_t>(peer)].socket = std::move(connection);
  }

  const int rank_;
  const std::chrono::milliseconds timeout_;
  std::vector<TcpPeer> peers_;
  TcpSocket listening_;
  uint64_t token_ = 0;
  std::vector<Place> places_;
  Clock::time_point deadline_;
};

}  // namespace

std::vector<TcpPeer> connect_all(const Meeting& meeting, ControlPlane& control) {
  return Meet(meeting, control).take();
}

}  // namespace switchyard
