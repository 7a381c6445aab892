#include "parallel/comm/tcp/link.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace switchyard {

namespace {

bool would_block() { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

}  // namespace

TcpLink::TcpLink(int world_rank, TcpPeer peer, LinkEvents& events)
    : world_rank_(world_rank),
      socket_(std::move(peer.socket)),
      readable_process_(peer.readable_process),
      events_(events),
      staging_(staging_bytes) {}

void TcpLink::close() {
  socket_ = TcpSocket();
  if (std::exchange(writing_, false)) queue_.push_front(current_);
  for (const Outgoing& each : std::exchange(queue_, {}))
    if (each.message != nullptr && each.message->abandoned) events_.done(*each.message);
  long_.clear();
}

bool TcpLink::has_arrived(const FrameKey& key) const {
  const auto slot = slots_.find(key);
  return slot != slots_.end() && !slot->second.arrived.empty();
}

void TcpLink::send(TcpMessage& m) {
  Frame frame{.tag = m.key.tag, .group = m.key.group, .bytes = m.bytes};
  if (m.bytes <= whole_bytes)
    return queue_.push_back({.frame = frame, .message = &m, .data = m.data});
  frame.kind = FrameKind::offer;
  frame.number = m.number = ++offers_;
  frame.address = reinterpret_cast<uintptr_t>(m.data);
  offered_[m.number] = &m;
  say(frame);
}

void TcpLink::recv(TcpMessage& m) {
  Slot& slot = slots_[m.key];
  if (slot.arrived.empty()) return slot.wanted.push_back(&m);
  Arrival arrival = std::move(slot.arrived.front());
  slot.arrived.pop_front();
  if (slot.arrived.empty() && slot.wanted.empty()) slots_.erase(m.key);
  if (arrival.frame.bytes != m.bytes) return events_.mismatch(m, arrival.frame.bytes);
  if (arrival.frame.kind == FrameKind::offer) return accept(m, arrival.frame);
  if (m.bytes > 0) std::memcpy(m.data, arrival.bytes.data(), static_cast<size_t>(m.bytes));
  events_.done(m);
}

void TcpLink::accept(TcpMessage& m, const Frame& offer) {
  if (readable_process_ != 0) return events_.can_copy(*this, m, offer);
  ask_for(m, offer);
}

void TcpLink::copy(TcpMessage& m, const Frame& offer) {
  if (!copy_from_process(readable_process_, offer.address, m.data, m.bytes))
    return ask_for(m, offer);
  say({.kind = FrameKind::taken, .number = offer.number});
  events_.done(m);
}

void TcpLink::ask_for(TcpMessage& m, const Frame& offer) {
  accepted_[offer.number] = &m;
  say({.kind = FrameKind::request, .number = offer.number});
}

bool TcpLink::forget(TcpMessage& m) {
  const auto is_its = [&](const Outgoing& each) { return each.message == &m; };
  m.abandoned = (writing_ && is_its(current_)) || std::ranges::any_of(queue_, is_its);
  if (m.abandoned) return false;
  std::erase(long_, &m);
  std::erase_if(offered_, [&](const auto& each) { return each.second == &m; });
  for (auto& [number, message] : accepted_)
    if (message == &m) message = nullptr;
  if (const auto slot = slots_.find(m.key); slot != slots_.end() && m.incoming)
    std::erase(slot->second.wanted, &m);
  if (into_ == &m) {
    into_ = nullptr;
    target_ = nullptr;
  }
  return true;
}

// Short messages pass before the pieces of long ones.
bool TcpLink::choose_next() {
  if (!queue_.empty()) {
    current_ = queue_.front();
    queue_.pop_front();
    return true;
  }
  if (long_.empty()) return false;
  TcpMessage& m = *long_.front();
  long_.pop_front();
  const int64_t bytes = std::min(piece_bytes, m.bytes - m.moved);
  current_ = {.frame = {.kind = FrameKind::piece, .bytes = bytes, .number = m.number},
              .message = &m,
              .data = m.data + m.moved};
  return true;
}

void TcpLink::finish_frame() {
  writing_ = false;
  TcpMessage* m = std::exchange(current_.message, nullptr);
  if (m == nullptr) return;
  if (current_.frame.kind == FrameKind::piece && !m->abandoned) {
    m->moved += current_.frame.bytes;
    if (m->moved < m->bytes) return long_.push_back(m);
  }
  events_.done(*m);
}

bool TcpLink::write() {
  constexpr int64_t header = sizeof(Frame);
  for (;;) {
    if (!open() || (!writing_ && !choose_next())) return true;
    writing_ = true;
    std::array<iovec, 2> parts{};
    int count = 0;
    if (current_.written < header)
      parts[0] = {.iov_base = reinterpret_cast<std::byte*>(&current_.frame) + current_.written,
                  .iov_len = static_cast<size_t>(header - current_.written)};
    count += current_.written < header;
    const int64_t begin = std::max<int64_t>(current_.written - header, 0);
    if (current_.bytes() > begin)
      parts[static_cast<size_t>(count++)] = {
          .iov_base = const_cast<std::byte*>(current_.data) + begin,
          .iov_len = static_cast<size_t>(current_.bytes() - begin)};
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = static_cast<size_t>(count);
    const ssize_t written = ::sendmsg(descriptor(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (written < 0) return would_block();
    current_.written += written;
    if (current_.written == header + current_.bytes()) finish_frame();
  }
}

}  // namespace switchyard
