#include "tests/emulated_cuda/nccl_exchange.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>

#include "parallel/comm/host_reduction.h"

// A collective goes in rounds: every rank puts a piece into its slot, reads all slots when all have
// done so, and may put the next piece when all have read.
namespace switchyard::emulated {

namespace {

class Collective final : public Exchange {
 public:
  Collective(std::shared_ptr<Rendezvous> meeting, int rank, int size, const Call& call)
      : meeting_(std::move(meeting)), rank_(rank), size_(size), call_(call) {
    const int64_t parts = call.kind == CallKind::reduce_scatter ? size : 1;
    whole_pieces_ = std::max<int64_t>(1, (call.bytes() + piece_bytes - 1) / piece_bytes);
    rounds_ = parts * whole_pieces_;
  }

  bool advance() override {
    while (round_ < rounds_) {
      if (!published_ && !publish()) return false;
      if (!consume()) return false;
    }
    return true;
  }

 private:
  static constexpr int64_t piece_bytes = Rendezvous::slot_bytes;  // a multiple of every element

  Rendezvous::Rank& me() const { return meeting_->of(rank_); }
  int64_t begin() const { return round_ % whole_pieces_ * piece_bytes; }  // within a part
  int64_t bytes() const { return std::min(piece_bytes, call_.bytes() - begin()); }
  int part() const { return static_cast<int>(round_ / whole_pieces_); }

  bool publish() {
    const uint64_t round = me().published;
    for (int r = 0; r < size_; ++r)
      if (meeting_->of(r).consumed < round) return false;
    const bool silent = call_.kind == CallKind::broadcast && rank_ != call_.peer;
    const auto* in = static_cast<const std::byte*>(call_.in) + begin();
    if (call_.kind == CallKind::reduce_scatter) in += part() * call_.bytes();
    if (!silent && bytes() > 0)
      std::memcpy(meeting_->slot(rank_), in, static_cast<size_t>(bytes()));
    me().piece = mine();
    me().published = round + 1;
    published_ = true;
    return true;
  }

  Rendezvous::Piece mine() const {
    return {.kind = static_cast<int32_t>(call_.kind),
            .root = call_.peer,
            .dtype = static_cast<int32_t>(call_.dtype),
            .reduce = static_cast<int32_t>(call_.reduce),
            .count = call_.count};
  }

  bool consume() {
    const uint64_t round = me().published;
    for (int r = 0; r < size_; ++r)
      if (meeting_->of(r).published < round) return false;
    check_match();
    if (bytes() > 0) read();
    me().consumed = round;
    published_ = false;
    ++round_;
    return true;
  }

  // A GPU would hang or mix up memory; here the process ends and says why.
  void check_match() const {
    const Rendezvous::Piece wanted = mine();
    for (int r = 0; r < size_; ++r) {
      const Rendezvous::Piece& other = meeting_->of(r).piece;
      if (std::memcmp(&other, &wanted, sizeof wanted) == 0) continue;
      std::fprintf(stderr,
                   "emulated NCCL: rank %d calls collective %d with %ld elements of dtype %d, rank "
                   "%d collective %d with %ld of dtype %d; they must agree\n",
                   rank_, wanted.kind, wanted.count, wanted.dtype, r, other.kind, other.count,
                   other.dtype);
      std::abort();
    }
  }

  void read() {
    auto* out = static_cast<std::byte*>(call_.out) + begin();
    const auto length = static_cast<size_t>(bytes());
    switch (call_.kind) {
      case CallKind::broadcast:
        std::memcpy(out, meeting_->slot(call_.peer), length);
        return;
      case CallKind::all_gather:
        for (int r = 0; r < size_; ++r)
          std::memcpy(out + r * call_.bytes(), meeting_->slot(r), length);
        return;
      case CallKind::reduce_scatter:
        if (part() == rank_) reduce(out);
        return;
      default:
        return reduce(out);
    }
  }

  void reduce(std::byte* out) const {
    std::vector<const void*> parts;
    for (int r = 0; r < size_; ++r) parts.push_back(meeting_->slot(r));
    reduce_on_host(parts, out, bytes() / size_of(call_.dtype), call_.dtype, call_.reduce);
  }

  std::shared_ptr<Rendezvous> meeting_;
  int rank_, size_;
  Call call_;
  int64_t whole_pieces_ = 1, rounds_ = 1, round_ = 0;
  bool published_ = false;
};

// One send or receive.
class Message {
 public:
  Message(Rendezvous& meeting, int rank, const Call& call)
      : call_(call),
        sends_(call.kind == CallKind::send),
        box_(sends_ ? meeting.mailbox(rank, call.peer) : meeting.mailbox(call.peer, rank)),
        letter_(sends_ ? meeting.letter(rank, call.peer) : meeting.letter(call.peer, rank)) {}

  bool advance() { return sends_ ? send() : receive(); }

 private:
  int64_t length() const { return std::min(Rendezvous::mailbox_bytes, call_.bytes() - moved_); }

  bool send() {
    while (moved_ < call_.bytes()) {
      if (box_.taken != box_.sent) return false;
      box_.bytes = call_.bytes();
      std::memcpy(letter_, static_cast<const std::byte*>(call_.in) + moved_,
                  static_cast<size_t>(length()));
      moved_ += length();
      ++box_.sent;
    }
    return box_.taken == box_.sent;
  }

  bool receive() {
    while (moved_ < call_.bytes()) {
      if (box_.taken == box_.sent) return false;
      if (box_.bytes != call_.bytes()) {
        std::fprintf(stderr, "emulated NCCL: %ld bytes were sent, %ld are received\n",
                     static_cast<long>(box_.bytes), static_cast<long>(call_.bytes()));
        std::abort();
      }
      std::memcpy(static_cast<std::byte*>(call_.out) + moved_, letter_,
                  static_cast<size_t>(length()));
      moved_ += length();
      ++box_.taken;
    }
    return true;
  }

  Call call_;
  bool sends_;
  Rendezvous::Mailbox& box_;
  std::byte* letter_;
  int64_t moved_ = 0;
};

class Messages final : public Exchange {
 public:
  Messages(std::shared_ptr<Rendezvous> meeting, int rank, const std::vector<Call>& calls)
      : meeting_(std::move(meeting)) {
    for (const Call& call : calls)
      lines_[{call.kind == CallKind::send, call.peer}].emplace_back(*meeting_, rank, call);
  }

  bool advance() override {
    bool all = true;
    for (auto& [way, line] : lines_) {
      while (!line.empty() && line.front().advance()) line.pop_front();
      all = all && line.empty();
    }
    return all;
  }

 private:
  std::shared_ptr<Rendezvous> meeting_;
  std::map<std::pair<bool, int>, std::deque<Message>> lines_;  // of each peer and direction
};

}  // namespace

std::unique_ptr<Exchange> make_collective(std::shared_ptr<Rendezvous> meeting, int rank, int size,
                                          const Call& call) {
  return std::make_unique<Collective>(std::move(meeting), rank, size, call);
}

std::unique_ptr<Exchange> make_messages(std::shared_ptr<Rendezvous> meeting, int rank,
                                        const std::vector<Call>& calls) {
  return std::make_unique<Messages>(std::move(meeting), rank, calls);
}

}  // namespace switchyard::emulated
