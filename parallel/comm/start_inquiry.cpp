#include "parallel/comm/start_inquiry.h"

#include <arpa/inet.h>
#include <fmt/core.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <future>
#include <map>
#include <memory>
#include <set>
#include <thread>
#include <utility>

#include "core/files.h"
#include "parallel/comm/culprits.h"
#include "parallel/comm/inquiry_round.h"
#include "parallel/comm/rendezvous/network_interfaces.h"

namespace switchyard {

namespace {

using namespace std::chrono_literals;

constexpr int choices = 3;  // of ports: another process may have one

// Below the ports that systems hand out, above those of the stores.
int port_of(const StartPlaces& places, int rank, int choice) {
  constexpr uint32_t first_port = 30'000, ports = 2'700;
  uint32_t hash = 2166136261u;  // FNV-1a
  for (const char c : fmt::format("{} {} {}", places.start, rank, choice))
    hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  return static_cast<int>(first_port + hash % ports);
}

std::string token_of(const StartPlaces& places) { return "start-" + places.start; }

Descriptor open_port(const StartPlaces& places) {
  for (int choice = 0; choice < choices; ++choice) {
    Descriptor socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_in any{};
    any.sin_family = AF_INET;
    any.sin_port = htons(static_cast<uint16_t>(port_of(places, places.rank, choice)));
    if (::bind(socket.number(), reinterpret_cast<const sockaddr*>(&any), sizeof any) == 0)
      return socket;
  }
  return Descriptor();
}

// Where the `choice` of each rank is asked; the name of a host is looked up once.
InquiryTable table_of(const StartPlaces& places, int choice,
                      std::map<std::string, std::vector<uint32_t>>& known) {
  InquiryTable table{.token = token_of(places), .rank = places.rank, .mine = own_address(0)};
  const std::string& own = places.hosts[static_cast<size_t>(places.rank)];
  for (size_t rank = 0; rank < places.hosts.size(); ++rank) {
    const std::string& host = places.hosts[rank];
    const auto [at, is_new] = known.try_emplace(host);
    if (is_new && host != own) {
      for (const std::string& text : addresses_of(host)) {
        in_addr number{};
        if (::inet_pton(AF_INET, text.c_str(), &number) == 1) at->second.push_back(number.s_addr);
      }
    }
    table.ranks.push_back({.machine = host == own ? table.mine.machine : "host " + host,
                           .port = port_of(places, static_cast<int>(rank), choice),
                           .addresses = at->second});
  }
  return table;
}

// Those whose host's name leads nowhere are left out.
std::vector<int> next_ranks(const StartPlaces& places, const InquiryTable& table) {
  constexpr int most = 1024;
  std::vector<int> ranks;
  const int all = static_cast<int>(places.hosts.size());
  for (int i = 1; i < all && std::ssize(ranks) < most; ++i) {
    const int rank = (places.rank + i) % all;
    if (!targets_of(table.ranks[static_cast<size_t>(rank)], table.mine).empty())
      ranks.push_back(rank);
  }
  return ranks;
}

// Gone: refused at every port. Silent: at one of them nothing came back.
struct Asked {
  std::set<int> there{}, gone{}, silent{};
};

void ask(std::span<const InquiryTable> tables, std::span<const int> ranks, Asked& asked) {
  std::set<int> there, refused(ranks.begin(), ranks.end());
  std::vector<std::future<std::map<int, RoundAnswer>>> rounds;
  rounds.reserve(tables.size());
  for (const InquiryTable& table : tables)
    rounds.push_back(
        std::async(std::launch::async, [&table, ranks] { return ask_once(table, ranks, 1000ms); }));
  for (auto& round : rounds) {
    for (const auto& [rank, answer] : round.get()) {
      if (answer.activity) there.insert(rank);
      if (!answer.refused) refused.erase(rank);
    }
  }
  for (const int rank : ranks)
    (there.contains(rank)     ? asked.there
     : refused.contains(rank) ? asked.gone
                              : asked.silent)
        .insert(rank);
}

// A refusal of another machine's is easily lost, as machines say so but a few times a second. Where
// no other node is heard at all the fault may lie on the way, and at this end of it.
std::string why_silent(const StartPlaces& places, const Asked& asked) {
  const std::string own = places.hosts[static_cast<size_t>(places.rank)];
  const auto is_elsewhere = [&](int rank) {
    return places.hosts[static_cast<size_t>(rank)] != own;
  };
  if (std::ranges::none_of(asked.silent, is_elsewhere)) return "stopped";
  if (std::ranges::any_of(asked.there, is_elsewhere) ||
      std::ranges::any_of(asked.gone, is_elsewhere))
    return "ended, not begun or stopped, or on a node or cable that is lost";
  return fmt::format(
      "no other node does: they, or the cable of {}, are lost, or datagrams are not let through",
      own);
}

std::string words_for(const StartPlaces& places, const Asked& asked) {
  std::vector<RankPlace> at;
  at.reserve(places.hosts.size());
  for (const std::string& host : places.hosts) at.push_back({.host = host});
  std::string text = describe({.gone = {asked.gone.begin(), asked.gone.end()},
                               .silent = {asked.silent.begin(), asked.silent.end()},
                               .why_silent = why_silent(places, asked)},
                              at);
  if (text.empty() && asked.there.size() + 1 == at.size()) text = "all other ranks answer";
  return text;
}

std::string find_absent(const StartPlaces& places) {
  constexpr size_t at_once = 100;  // descriptors
  std::map<std::string, std::vector<uint32_t>> known;
  std::vector<InquiryTable> tables;
  tables.reserve(choices);
  for (int choice = 0; choice < choices; ++choice)
    tables.push_back(table_of(places, choice, known));
  const std::vector<int> ranks = next_ranks(places, tables.front());
  Asked asked;
  for (size_t i = 0; i < ranks.size(); i += at_once)
    ask(tables, std::span(ranks).subspan(i, std::min(at_once, ranks.size() - i)), asked);
  return words_for(places, asked);
}

}  // namespace

struct StartInquiry::State {
  explicit State(StartPlaces given) : places(std::move(given)) {
    if (places.hosts.empty()) return;
    socket = open_port(places);
    if (socket) thread = std::thread([this] { answer_all(); });
  }
  ~State() {
    const uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(stop.number(), &one, sizeof one);
    if (thread.joinable()) thread.join();
  }
  void answer_all() const;

  const StartPlaces places;
  Descriptor socket{};
  const Descriptor stop{::eventfd(0, EFD_CLOEXEC)};
  std::thread thread;
};

void StartInquiry::State::answer_all() const {
  const std::string token = token_of(places);
  const std::string answer = to_text(token, {places.rank, '!', to_text(RankActivity{})});
  std::array<char, 1024> bytes{};
  for (;;) {
    std::array<pollfd, 2> wanted{{{socket.number(), POLLIN, 0}, {stop.number(), POLLIN, 0}}};
    if (::poll(wanted.data(), wanted.size(), -1) < 0) continue;
    if (wanted[1].revents != 0) return;
    sockaddr_in from{};
    socklen_t length = sizeof from;
    auto* address = reinterpret_cast<sockaddr*>(&from);
    const ssize_t got =
        ::recvfrom(socket.number(), bytes.data(), bytes.size(), MSG_DONTWAIT, address, &length);
    if (got <= 0) continue;
    const auto question = datagram_of(token, {bytes.data(), static_cast<size_t>(got)});
    if (question && question->kind == '?')
      ::sendto(socket.number(), answer.data(), answer.size(), MSG_NOSIGNAL | MSG_DONTWAIT, address,
               length);
  }
}

StartInquiry::StartInquiry(StartPlaces places)
    : state_(std::make_unique<State>(std::move(places))) {}
StartInquiry::~StartInquiry() = default;

// In a thread that is given up where a name server does not answer.
std::string StartInquiry::absent_ranks() const {
  if (state_->places.hosts.empty()) return "";
  std::packaged_task<std::string()> task([places = state_->places] { return find_absent(places); });
  auto words = task.get_future();
  std::thread(std::move(task)).detach();
  return words.wait_for(15s) == std::future_status::ready ? words.get() : "";
}

}  // namespace switchyard
