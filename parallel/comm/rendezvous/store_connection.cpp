#include "parallel/comm/rendezvous/store_connection.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "core/error.h"

namespace switchyard {

StoreConnection::StoreConnection(TcpSocket socket) : socket_(std::move(socket)) {
  socket_.never_block();
  keep_alive(socket_);
}

bool StoreConnection::read() {
  std::array<char, 1 << 16> part{};
  for (;;) {
    const ssize_t got = ::recv(descriptor(), part.data(), part.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno == EAGAIN || errno == EWOULDBLOCK;
    if (got == 0) return false;
    in_.append(part.data(), static_cast<size_t>(got));
    if (static_cast<size_t>(got) < part.size()) return true;
  }
}

bool StoreConnection::write() {
  while (wants_to_write()) {
    const ssize_t sent =
        ::send(descriptor(), out_.data() + sent_, out_.size() - sent_, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return errno == EAGAIN || errno == EWOULDBLOCK;
    sent_ += static_cast<size_t>(sent);
  }
  out_.clear();
  sent_ = 0;
  return true;
}

void StoreConnection::say(std::string_view text) {
  const uint32_t length = htonl(static_cast<uint32_t>(text.size()));
  out_.append(reinterpret_cast<const char*>(&length), sizeof length);
  out_.append(text);
}

std::optional<std::string_view> StoreConnection::text_at(size_t& offset) const {
  uint32_t length = 0;
  if (in_.size() < offset + sizeof length) return std::nullopt;
  std::memcpy(&length, in_.data() + offset, sizeof length);
  length = ntohl(length);
  constexpr size_t most_of_a_stranger = 256;
  const size_t most = rank.empty() ? most_of_a_stranger : TcpSocket::most_text_bytes;
  check(length <= most, "store", "a text of {} bytes came; at most {} are allowed", length, most);
  if (in_.size() < offset + sizeof length + length) return std::nullopt;
  const auto text = std::string_view(in_).substr(offset + sizeof length, length);
  offset += sizeof length + length;
  return text;
}

std::optional<std::string> StoreConnection::peek() {
  size_t offset = used_;
  const auto text = text_at(offset);
  return text ? std::optional<std::string>(*text) : std::nullopt;
}

void StoreConnection::forget_input() {
  in_.clear();
  used_ = 0;
}

std::optional<std::vector<std::string>> StoreConnection::take(size_t count) {
  std::vector<std::string> texts;
  texts.reserve(count);
  size_t offset = used_;
  while (texts.size() < count) {
    const auto text = text_at(offset);
    if (!text) return std::nullopt;
    texts.emplace_back(*text);
  }
  used_ = offset;
  if (used_ == in_.size()) forget_input();
  return texts;
}

}  // namespace switchyard
