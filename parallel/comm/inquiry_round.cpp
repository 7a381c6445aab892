#include "parallel/comm/inquiry_round.h"

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <set>
#include <vector>

#include "core/files.h"

namespace switchyard {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

namespace {

// A question to one rank at one of its addresses; a socket for each, so that a refusal is heard.
struct Question {
  int rank = 0;
  Descriptor socket{};
  bool refused = false;
};

class Round {
 public:
  Round(const InquiryTable& table, std::span<const int> ranks) : table_(table) {
    for (const int rank : ranks) {
      answers_[rank] = {};
      if (rank >= 0 && rank < static_cast<int>(table.ranks.size())) add(rank);
    }
  }
  std::map<int, RoundAnswer> run(std::chrono::milliseconds limit) {
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
      if (q.refused && !done_.contains(q.rank)) answers_[q.rank].refused = true;
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
    const auto datagram = datagram_of(table_.token, {bytes.data(), static_cast<size_t>(got)});
    if (!datagram || datagram->kind != '!' || datagram->rank != q.rank) return;
    answers_[q.rank] = {.activity = activity_of(datagram->rest)};
    done_.insert(q.rank);
  }

  const InquiryTable& table_;
  std::vector<Question> questions_;
  std::map<int, RoundAnswer> answers_;
  std::set<int> done_;  // that have answered
};

}  // namespace

std::map<int, RoundAnswer> ask_once(const InquiryTable& table, std::span<const int> ranks,
                                    std::chrono::milliseconds limit) {
  return Round(table, ranks).run(limit);
}

}  // namespace switchyard
