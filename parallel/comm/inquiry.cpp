#include "parallel/comm/inquiry.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <mutex>
#include <random>
#include <set>
#include <thread>

#include "core/error.h"
#include "core/fault_report.h"
#include "core/files.h"
#include "core/text.h"
#include "parallel/comm/communicators.h"
#include "parallel/comm/control_plane.h"
#include "parallel/comm/inquiry_table.h"

namespace switchyard {

namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

// What is known of the other ranks; made once, and kept by whoever still asks.
struct Table {
  std::string token;
  int rank = 0;
  RankAddress mine;
  std::vector<RankAddress> ranks;  // by world rank
};

std::mutex mutex;
std::shared_ptr<const Table> known;
std::atomic<bool> announced = false, told = false;
std::string first_report;  // of this process, guarded by the mutex

std::shared_ptr<const Table> table() {
  const std::lock_guard lock(mutex);
  return known;
}

void send_to(int socket, const sockaddr_in& target, const std::string& text) {
  ::sendto(socket, text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT,
           reinterpret_cast<const sockaddr*>(&target), sizeof target);
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

  Descriptor socket{::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
  Descriptor stop{::eventfd(0, EFD_CLOEXEC)};
  std::shared_ptr<const Table> of;
  std::thread thread;
};

Inquiries::State::State(ControlPlane& control) {
  sockaddr_in any{};
  any.sin_family = AF_INET;
  socklen_t length = sizeof any;
  auto* address = reinterpret_cast<sockaddr*>(&any);
  const bool open = ::bind(socket.number(), address, length) == 0 &&
                    ::getsockname(socket.number(), address, &length) == 0;
  auto made = std::make_shared<Table>();
  made->rank = control.rank();
  made->mine = own_address(open ? ntohs(any.sin_port) : 0);
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
  if (!open) return;
  announced = told = false;
  {
    const std::lock_guard lock(mutex);
    known = of;
    first_report.clear();
  }
  thread = std::thread([this] { answer_all(); });
}

Inquiries::State::~State() {
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
  write_fault_report(fmt::format("world rank {} ends the job:{}", end.rank, rest));
  constexpr int patience = 3000;  // milliseconds
  pollfd ended{stop.number(), POLLIN, 0};
  if (::poll(&ended, 1, patience) > 0) return;
  end_job(code);
}

Inquiries::Inquiries(ControlPlane& control) : state_(std::make_unique<State>(control)) {}
Inquiries::~Inquiries() = default;

bool can_ask_ranks() { return table() != nullptr; }

namespace {

// A question to one rank at one of its addresses; a socket for each, so that a refusal is heard.
struct Question {
  int rank = 0;
  Descriptor socket{};
  bool refused = false;
};

class Round {
 public:
  Round(const Table& table, std::span<const int> ranks) : table_(table) {
    for (const int rank : ranks) {
      answers_[rank] = {};
      if (rank >= 0 && rank < static_cast<int>(table.ranks.size())) add(rank);
    }
  }
  std::map<int, PeerAnswer> run(std::chrono::milliseconds limit) {
    const auto end = Clock::now() + limit;
    auto next = Clock::now();
    while (Clock::now() < end && !questions_.empty()) {
      if (Clock::now() >= next) {
        ask();
        next = Clock::now() + 150ms;  // datagrams may be lost
      }
      listen();
    }
    return std::move(answers_);
  }

 private:
  void add(int rank) {
    for (const auto& target : targets_of(table_.ranks[static_cast<size_t>(rank)], table_.mine)) {
      Descriptor socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
      const auto* address = reinterpret_cast<const sockaddr*>(&target);
      if (socket && ::connect(socket.number(), address, sizeof target) == 0)
        questions_.push_back({rank, std::move(socket)});
    }
  }
  void ask() {
    const std::string text = to_text(table_.token, {table_.rank, '?', ""});
    for (Question& q : questions_) {
      const auto sent = ::send(q.socket.number(), text.data(), text.size(), MSG_NOSIGNAL);
      q.refused |= sent < 0 && errno == ECONNREFUSED;
    }
    drop_done();
  }
  // A rank is gone when none of its addresses may still answer, and one has refused.
  void drop_done() {
    for (const Question& q : questions_)
      if (q.refused && !done_.contains(q.rank)) answers_[q.rank].state = PeerState::gone;
    std::erase_if(questions_,
                  [&](const Question& q) { return q.refused || done_.contains(q.rank); });
  }
  void listen() {
    std::vector<pollfd> wanted;
    wanted.reserve(questions_.size());
    for (const Question& q : questions_) wanted.push_back({q.socket.number(), POLLIN, 0});
    if (::poll(wanted.data(), wanted.size(), 20) <= 0) return;
    for (size_t i = 0; i < wanted.size(); ++i)
      if (wanted[i].revents != 0) take(questions_[i]);
    drop_done();
  }
  void take(Question& q) {
    std::array<char, 16384> bytes{};
    const ssize_t got = ::recv(q.socket.number(), bytes.data(), bytes.size(), 0);
    q.refused |= got < 0 && errno == ECONNREFUSED;
    if (got < 0) return;
    PeerAnswer& answer = answers_[q.rank];
    const auto datagram = datagram_of(table_.token, {bytes.data(), static_cast<size_t>(got)});
    if (!datagram || datagram->kind != '!' || datagram->rank != q.rank) return;
    answer.activity = activity_of(datagram->rest);
    answer.state = answer.activity.what.empty() ? PeerState::busy : PeerState::waits;
    done_.insert(q.rank);
  }

  const Table& table_;
  std::vector<Question> questions_;
  std::map<int, PeerAnswer> answers_;
  std::set<int> done_;  // that have answered
};

}  // namespace

std::map<int, PeerAnswer> ask_ranks(std::span<const int> world_ranks,
                                    std::chrono::milliseconds limit) {
  constexpr size_t at_once = 128;  // descriptors
  std::map<int, PeerAnswer> all;
  const auto of = table();
  if (!of) return all;
  for (size_t i = 0; i < world_ranks.size(); i += at_once) {
    const auto part = world_ranks.subspan(i, std::min(at_once, world_ranks.size() - i));
    all.merge(Round(*of, part).run(limit));
  }
  return all;
}

void announce_end(int code, const std::string& why) {
  const auto of = table();
  if (!of || told || announced.exchange(true)) return;
  const Descriptor socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const std::string text =
      to_text(of->token, {of->rank, 'e', fmt::format("{} {}", code, why.substr(0, 4000))});
  for (int time = 0; time < 2; ++time) {
    for (size_t rank = 0; rank < of->ranks.size(); ++rank) {
      if (static_cast<int>(rank) == of->rank) continue;
      for (const auto& target : targets_of(of->ranks[rank], of->mine))
        send_to(socket.number(), target, text);
    }
    std::this_thread::sleep_for(100ms);  // for those that hear it to leave their stacks
  }
}

namespace {

// What this process has reported before; else `text` from now on. Empty where nobody is told.
std::string reported_before(const std::string& text) {
  const std::lock_guard lock(mutex);
  if (!known) return {};
  if (!first_report.empty()) return first_report;
  first_report = text;
  return {};
}

}  // namespace

void report_end(ExitCode code, std::string& text) {
  if (told) std::this_thread::sleep_for(10s);
  if (const auto before = reported_before(text); !before.empty()) {
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

bool is_reported(std::string_view text) {
  const std::lock_guard lock(mutex);
  return known && !first_report.empty() && text.find(first_report) != std::string_view::npos;
}

}  // namespace switchyard
