#include "parallel/comm/life_lines.h"

#include <fmt/core.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <list>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/text.h"

namespace switchyard {

namespace {

constexpr char good_bye = 'b';

// To a neighbour; its rank is known at once of the one that this rank has called.
struct Line {
  Descriptor socket;
  int rank = -1;
  std::string heard{};  // the greeting, up to its end
  bool connecting = false;
  bool ended = false;
};

Descriptor new_socket() {
  return Descriptor(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

}  // namespace

struct LifeLines::State {
  std::shared_ptr<const InquiryTable> of;
  Descriptor listening;
  std::function<void(int rank)> lost;
  Descriptor stop{::eventfd(0, EFD_CLOEXEC)};
  std::vector<sockaddr_in> targets{};  // of the next rank, those that were not tried yet
  std::list<Line> lines{};
  std::thread thread{};

  int next() const { return (of->rank + 1) % static_cast<int>(of->ranks.size()); }
  void call_next();
  void greet(Line& line) const;
  void accept_all();
  void hear(Line& line);
  bool take_greeting(Line& line) const;
  void end(Line& line, bool in_order);
  void watch_all();
};

// The first address of the next rank that answers.
void LifeLines::State::call_next() {
  while (!targets.empty()) {
    const sockaddr_in target = targets.back();
    targets.pop_back();
    Line line{.socket = new_socket(), .rank = next(), .connecting = true};
    const auto* address = reinterpret_cast<const sockaddr*>(&target);
    const bool done = ::connect(line.socket.number(), address, sizeof target) == 0;
    if (!done && errno != EINPROGRESS) continue;
    lines.push_back(std::move(line));
    return;
  }
}

void LifeLines::State::greet(Line& line) const {
  int why = 0;
  socklen_t length = sizeof why;
  ::getsockopt(line.socket.number(), SOL_SOCKET, SO_ERROR, &why, &length);
  const std::string greeting = fmt::format("{} {}\n", of->token, of->rank);
  line.connecting = false;
  line.ended = why != 0 || ::send(line.socket.number(), greeting.data(), greeting.size(),
                                  MSG_NOSIGNAL) != static_cast<ssize_t>(greeting.size());
}

void LifeLines::State::accept_all() {
  for (;;) {
    const int accepted =
        ::accept4(listening.number(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    const bool exhausted = errno == EMFILE || errno == ENFILE || errno == ENOMEM;
    if (accepted < 0 && exhausted) listening.close();  // else it would be asked again at once
    if (accepted < 0) return;
    lines.push_back({.socket = Descriptor(accepted)});
  }
}

// False for a stranger. Behind the greeting stays what came after it.
bool LifeLines::State::take_greeting(Line& line) const {
  const size_t end = line.heard.find('\n');
  if (end == std::string::npos) return line.heard.size() < 256;
  std::string_view rest = line.heard;
  if (!rest.starts_with(of->token + " ")) return false;
  rest.remove_prefix(of->token.size() + 1);
  line.rank = take_number<int>(rest).value_or(-1);
  line.heard.erase(0, end + 1);
  return line.rank >= 0;
}

void LifeLines::State::hear(Line& line) {
  std::array<char, 256> bytes{};
  const ssize_t got = ::recv(line.socket.number(), bytes.data(), bytes.size(), 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) return end(line, false);
  line.heard.append(bytes.data(), static_cast<size_t>(got));
  if (line.rank < 0 && !take_greeting(line)) return end(line, true);
  if (line.rank >= 0 && line.heard.starts_with(good_bye)) end(line, true);
}

void LifeLines::State::end(Line& line, bool in_order) {
  line.ended = true;
  if (!in_order && line.rank >= 0) lost(line.rank);
}

void LifeLines::State::watch_all() {
  call_next();
  for (;;) {
    std::vector<pollfd> wanted{{stop.number(), POLLIN, 0}, {listening.number(), POLLIN, 0}};
    for (const Line& line : lines) {
      const short what = line.connecting ? POLLOUT : POLLIN;
      wanted.push_back({line.socket.number(), what, 0});
    }
    if (::poll(wanted.data(), wanted.size(), -1) < 0) continue;
    if (wanted[0].revents != 0) return;
    size_t i = 2;
    bool again = false;
    for (Line& line : lines) {
      if (wanted[i++].revents == 0) continue;
      const bool called = line.connecting;
      if (called)
        greet(line);
      else
        hear(line);
      again = again || (called && line.ended);
    }
    if (wanted[1].revents != 0) accept_all();
    std::erase_if(lines, [](const Line& line) { return line.ended; });
    if (again) call_next();
  }
}

Descriptor LifeLines::listen_at(int port) {
  Descriptor listening = new_socket();
  sockaddr_in any{};
  any.sin_family = AF_INET;
  any.sin_port = htons(static_cast<uint16_t>(port));
  const bool listens =
      ::bind(listening.number(), reinterpret_cast<sockaddr*>(&any), sizeof any) == 0 &&
      ::listen(listening.number(), 16) == 0;
  return listens ? std::move(listening) : Descriptor();
}

LifeLines::LifeLines(std::shared_ptr<const InquiryTable> of, Descriptor listening,
                     std::function<void(int rank)> lost)
    : state_(new State{std::move(of), std::move(listening), std::move(lost)}) {
  State& state = *state_;
  state.targets = targets_of(state.of->ranks[static_cast<size_t>(state.next())], state.of->mine);
  std::reverse(state.targets.begin(), state.targets.end());
  state.thread = std::thread([&state] { state.watch_all(); });
}

LifeLines::~LifeLines() {
  const uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(state_->stop.number(), &one, sizeof one);
  state_->thread.join();
  for (const Line& line : state_->lines)
    ::send(line.socket.number(), &good_bye, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

}  // namespace switchyard
