#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "parallel/comm/tcp/link.h"

namespace switchyard {

namespace {

FrameKey key_of(const Frame& frame) { return {.group = frame.group, .tag = frame.tag}; }

bool has_bytes(const Frame& frame) {
  return frame.bytes > 0 && (frame.kind == FrameKind::message || frame.kind == FrameKind::piece);
}

bool would_block() { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

}  // namespace

// The rest of a long frame goes where it belongs, what follows it into the staging buffer.
bool TcpLink::read() {
  constexpr int64_t most_in_one_turn = 4 << 20;
  for (int64_t all = 0; open() && all < most_in_one_turn;) {
    const bool direct = in_frame_ && left_ > 0 && target_ != nullptr && staged_ == 0;
    const int64_t wanted = direct ? left_ : 0;
    const std::array<iovec, 2> parts{
        iovec{.iov_base = target_, .iov_len = static_cast<size_t>(wanted)},
        iovec{.iov_base = staging_.data() + staged_,
              .iov_len = static_cast<size_t>(staging_bytes - staged_)}};
    const ssize_t got = direct ? ::readv(descriptor(), parts.data(), 2)
                               : ::recv(descriptor(), parts[1].iov_base, parts[1].iov_len, 0);
    if (got < 0) return would_block();
    if (got == 0) errno = ECONNRESET;
    if (got == 0) return false;
    all += got;
    const int64_t placed = std::min<int64_t>(got, wanted);
    if (direct) {
      left_ -= placed;
      target_ += placed;
      if (left_ == 0) end_frame();
    }
    staged_ += got - placed;
    const int64_t used = parse(staging_.data(), staged_);
    staged_ -= used;
    if (staged_ > 0 && used > 0)
      std::memmove(staging_.data(), staging_.data() + used, static_cast<size_t>(staged_));
    const int64_t room = wanted + static_cast<int64_t>(parts[1].iov_len);
    if (got < room) return true;  // that was all there is
  }
  return true;
}

// Returns how many bytes it has used.
int64_t TcpLink::parse(const std::byte* data, int64_t bytes) {
  int64_t used = 0;
  for (;;) {
    if (!in_frame_) {
      if (bytes - used < static_cast<int64_t>(sizeof(Frame))) return used;
      std::memcpy(&incoming_, data + used, sizeof(Frame));
      used += static_cast<int64_t>(sizeof(Frame));
      begin_frame();
    }
    const int64_t part = std::min(left_, bytes - used);
    take_bytes(data + used, part);
    used += part;
    if (left_ > 0) return used;
    if (in_frame_) end_frame();
  }
}

void TcpLink::take_bytes(const std::byte* from, int64_t bytes) {
  if (target_ != nullptr && bytes > 0) {
    std::memcpy(target_, from, static_cast<size_t>(bytes));
    target_ += bytes;
  }
  left_ -= bytes;
}

void TcpLink::begin_frame() {
  in_frame_ = true;
  left_ = has_bytes(incoming_) ? incoming_.bytes : 0;
  target_ = nullptr;
  into_ = nullptr;
  if (incoming_.kind == FrameKind::message) begin_message();
  if (incoming_.kind == FrameKind::piece) {
    into_ = accepted_[incoming_.number];
    if (into_ != nullptr) target_ = into_->data + into_->moved;
  }
}

TcpMessage* TcpLink::next_wanted(const FrameKey& key) {
  const auto found = slots_.find(key);
  if (found == slots_.end() || found->second.wanted.empty()) return nullptr;
  TcpMessage* m = found->second.wanted.front();
  found->second.wanted.pop_front();
  if (found->second.wanted.empty() && found->second.arrived.empty()) slots_.erase(found);
  return m;
}

void TcpLink::begin_message() {
  into_ = next_wanted(key_of(incoming_));
  if (into_ == nullptr) {
    unwanted_.resize(static_cast<size_t>(incoming_.bytes));
    target_ = unwanted_.data();
  } else if (into_->bytes != incoming_.bytes) {
    events_.mismatch(*std::exchange(into_, nullptr), incoming_.bytes);
    incoming_.kind = FrameKind::piece;  // of nothing: its bytes go nowhere
    incoming_.number = 0;
  } else {
    target_ = into_->data;
  }
}

// Somebody may have come to want it meanwhile.
void TcpLink::end_message() {
  if (into_ != nullptr) return events_.done(*std::exchange(into_, nullptr));
  if (target_ == nullptr && incoming_.bytes > 0) return;  // forgotten
  if (TcpMessage* m = next_wanted(key_of(incoming_))) {
    if (m->bytes != incoming_.bytes) return events_.mismatch(*m, incoming_.bytes);
    if (m->bytes > 0) std::memcpy(m->data, unwanted_.data(), static_cast<size_t>(m->bytes));
    return events_.done(*m);
  }
  slots_[key_of(incoming_)].arrived.push_back(
      {.frame = incoming_, .bytes = std::exchange(unwanted_, {})});
}

void TcpLink::end_frame() {
  in_frame_ = false;
  switch (incoming_.kind) {
    case FrameKind::message:
      return end_message();
    case FrameKind::piece:
      if (into_ == nullptr) return;
      into_->moved += incoming_.bytes;
      if (into_->moved < into_->bytes) return;
      accepted_.erase(incoming_.number);
      return events_.done(*std::exchange(into_, nullptr));
    case FrameKind::offer:
      if (TcpMessage* m = next_wanted(key_of(incoming_))) {
        if (m->bytes != incoming_.bytes) return events_.mismatch(*m, incoming_.bytes);
        return accept(*m, incoming_);
      }
      return slots_[key_of(incoming_)].arrived.push_back({.frame = incoming_, .bytes = {}});
    case FrameKind::request:
      if (const auto offer = offered_.extract(incoming_.number)) long_.push_back(offer.mapped());
      return;
    case FrameKind::taken:
      if (const auto offer = offered_.extract(incoming_.number)) events_.done(*offer.mapped());
      return;
    default:
      return note_end(incoming_);
  }
}

void TcpLink::note_end(const Frame& frame) {
  if (frame.kind == FrameKind::end) {
    ended_ = true;
    events_.said_end(*this);
  }
  if (frame.kind == FrameKind::lost) events_.said_lost(static_cast<int>(frame.number));
}

}  // namespace switchyard
