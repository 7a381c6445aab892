#include "parallel/comm/inquiry.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <thread>
#include <tuple>
#include <utility>

#include "core/error.h"
#include "core/fault_report.h"
#include "core/files.h"
#include "core/text.h"
#include "parallel/comm/communicators.h"
#include "parallel/comm/control_plane.h"
#include "parallel/comm/inquiry_round.h"
#include "parallel/comm/life_lines.h"
#include "parallel/comm/reported_fault.h"

namespace switchyard {

namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

std::mutex mutex;
std::shared_ptr<const InquiryTable> known;
std::set<int> gone;  // world ranks that have ended without a good-bye; guarded by mutex
std::atomic<bool> announced = false, told = false;

std::shared_ptr<const InquiryTable> table() {
  const std::lock_guard lock(mutex);
  return known;
}

void send_to(int socket, const sockaddr_in& target, const std::string& text) {
  ::sendto(socket, text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT,
           reinterpret_cast<const sockaddr*>(&target), sizeof target);
}

void tell_all(const InquiryTable& of, char kind, const std::string& rest) {
  const Descriptor socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const std::string text = to_text(of.token, {of.rank, kind, rest});
  for (int time = 0; time < 2; ++time) {
    for (size_t rank = 0; rank < of.ranks.size(); ++rank) {
      if (static_cast<int>(rank) == of.rank) continue;
      for (const auto& target : targets_of(of.ranks[rank], of.mine))
        send_to(socket.number(), target, text);
    }
    std::this_thread::sleep_for(100ms);  // for those that hear of an end to leave their stacks
  }
}

int rank_in(std::string_view text) {
  if (text.starts_with(' ')) text.remove_prefix(1);
  return take_number<int>(text).value_or(-1);
}

void note_gone(int rank) {
  const std::lock_guard lock(mutex);
  gone.insert(rank);
}

// Both of a rank's neighbours see it, whoever waits for it.
void tell_gone(const InquiryTable& of, int rank) {
  note_gone(rank);
  if (!announced && !told) tell_all(of, 'g', std::to_string(rank));
}

// Datagrams and connections come to one port; none where none is to be had.
std::pair<Descriptor, int> open_port(Descriptor& listening) {
  for (int tries = 0; tries < 10; ++tries) {
    Descriptor socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_in any{};
    any.sin_family = AF_INET;
    socklen_t length = sizeof any;
    auto* address = reinterpret_cast<sockaddr*>(&any);
    if (::bind(socket.number(), address, length) != 0 ||
        ::getsockname(socket.number(), address, &length) != 0)
      break;
    listening = LifeLines::listen_at(ntohs(any.sin_port));
    if (listening || tries == 9) return {std::move(socket), ntohs(any.sin_port)};
  }
  return {Descriptor(), 0};
}

std::string random_token() {
  std::random_device source;
  return fmt::format("{:08x}{:08x}{:08x}", source(), source(), source());
}

}  // namespace

struct Inquiries::State {
  explicit State(ControlPlane& control);
  ~State();
  void answer_all();
  void answer(const Datagram& question, const sockaddr_in& from) const;
  void end_as_told(const Datagram& end) const;

  Descriptor socket{};
  Descriptor stop{::eventfd(0, EFD_CLOEXEC)};
  std::shared_ptr<const InquiryTable> of;
  std::thread thread;
  std::optional<LifeLines> lines;
};

Inquiries::State::State(ControlPlane& control) {
  Descriptor listening;
  int port = 0;
  std::tie(socket, port) = open_port(listening);
  auto made = std::make_shared<InquiryTable>();
  made->rank = control.rank();
  made->mine = own_address(port);
  const auto texts = control.gather(to_text(made->mine), "addresses for inquiries");
  std::string all = random_token();
  for (const auto& text : texts) all += '\n' + text;
  all = control.broadcast(all, "addresses for inquiries");
  for (const auto line : split_at('\n', all)) {
    if (made->token.empty())
      made->token = line;
    else
      made->ranks.push_back(address_of(line));
  }
  of = made;
  if (!socket) return;
  announced = told = false;
  {
    const std::lock_guard lock(mutex);
    known = of;
    gone.clear();
    forget_reported();
  }
  if (listening && of->ranks.size() > 1)
    lines.emplace(of, std::move(listening), [table = of](int rank) { tell_gone(*table, rank); });
  thread = std::thread([this] { answer_all(); });
}

Inquiries::State::~State() {
  lines.reset();
  {
    const std::lock_guard lock(mutex);
    if (known == of) known.reset();
  }
  const uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(stop.number(), &one, sizeof one);
  if (thread.joinable()) thread.join();
}

void Inquiries::State::answer_all() {
  std::array<char, 16384> bytes{};
  for (;;) {
    std::array<pollfd, 2> wanted{{{socket.number(), POLLIN, 0}, {stop.number(), POLLIN, 0}}};
    if (::poll(wanted.data(), wanted.size(), -1) < 0) continue;
    if (wanted[1].revents != 0) return;
    sockaddr_in from{};
    socklen_t length = sizeof from;
    const ssize_t got = ::recvfrom(socket.number(), bytes.data(), bytes.size(), MSG_DONTWAIT,
                                   reinterpret_cast<sockaddr*>(&from), &length);
    if (got <= 0) continue;
    const auto datagram = datagram_of(of->token, {bytes.data(), static_cast<size_t>(got)});
    if (!datagram) continue;
    if (datagram->kind == '?') answer(*datagram, from);
    if (datagram->kind == 'e') end_as_told(*datagram);
    if (datagram->kind == 'g') note_gone(rank_in(datagram->rest));
  }
}

void Inquiries::State::answer(const Datagram&, const sockaddr_in& from) const {
  const Datagram answer{of->rank, '!', to_text(activity_of_process())};
  send_to(socket.number(), from, to_text(of->token, answer));
}

// The launcher usually ends this process before that, and then it is the one that says how.
void Inquiries::State::end_as_told(const Datagram& end) const {
  if (announced || told.exchange(true)) return;
  std::string_view rest = end.rest;
  const int code = take_number<int>(rest).value_or(static_cast<int>(ExitCode::lost_peer));
  const auto deadline = Clock::now() + 3s;
  write_fault_report(fmt::format("world rank {} ends the job:{}", end.rank, rest));
  // Where its disk does not answer nothing of that is left: a launcher kills it soon.
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
  pollfd ended{stop.number(), POLLIN, 0};
  if (::poll(&ended, 1, static_cast<int>(std::max(left, 100ms).count())) > 0) return;
  end_job(code);
}

Inquiries::Inquiries(ControlPlane& control) : state_(std::make_unique<State>(control)) {}
Inquiries::~Inquiries() = default;

bool can_ask_ranks() { return table() != nullptr; }

std::map<int, PeerAnswer> ask_ranks(std::span<const int> world_ranks,
                                    std::chrono::milliseconds limit) {
  constexpr size_t at_once = 128;  // descriptors
  std::map<int, PeerAnswer> all;
  const auto of = table();
  if (!of) return all;
  for (size_t i = 0; i < world_ranks.size(); i += at_once) {
    const auto part = world_ranks.subspan(i, std::min(at_once, world_ranks.size() - i));
    for (auto& [rank, answer] : ask_once(*of, part, limit)) {
      PeerAnswer& its = all[rank];
      if (answer.refused) its.state = PeerState::gone;
      if (!answer.activity) continue;
      its.activity = std::move(*answer.activity);
      its.state = its.activity.what.empty() ? PeerState::busy : PeerState::waits;
    }
  }
  // One that answers is there, whatever has become of its life line.
  const std::lock_guard lock(mutex);
  for (auto& [rank, answer] : all)
    if (answer.state == PeerState::silent && gone.contains(rank)) answer.state = PeerState::gone;
  return all;
}

void announce_end(int code, const std::string& why) {
  const auto of = table();
  if (!of || told || announced.exchange(true)) return;
  tell_all(*of, 'e', fmt::format("{} {}", code, why.substr(0, 4000)));
}

void report_end(ExitCode code, std::string& text) {
  if (told) std::this_thread::sleep_for(10s);
  // Another thread's report is out before this one may end the process.
  static std::mutex one_at_a_time;
  const std::lock_guard lock(one_at_a_time);
  if (const auto before = can_ask_ranks() ? reported_before(text) : ""; !before.empty()) {
    text += "; behind: " + before;
    return;
  }
  text += write_fault_report(text);
  if (can_ask_ranks()) {  // at once: who waits for this rank's error may be ended before it comes
    std::fprintf(stderr, "switchyard: [communicator] %s\n", text.c_str());
    std::fflush(stderr);
  }
  announce_end(static_cast<int>(code), text);
}

}  // namespace switchyard
