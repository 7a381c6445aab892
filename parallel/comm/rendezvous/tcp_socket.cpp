#include "parallel/comm/rendezvous/tcp_socket.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>

#include "core/error.h"
#include "core/stop_signal.h"

namespace switchyard {

namespace {

timeval timeval_of(std::chrono::milliseconds time) {
  timeval value{};
  value.tv_sec = time.count() / 1000;
  value.tv_usec = time.count() % 1000 * 1000;
  return value;
}

}  // namespace

TcpSocket::~TcpSocket() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

TcpSocket& TcpSocket::operator=(TcpSocket&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  stop_ends_reads_ = other.stop_ends_reads_;
  return *this;
}

void TcpSocket::shut_down() const { ::shutdown(descriptor_, SHUT_RDWR); }

void TcpSocket::set_timeout(std::chrono::milliseconds timeout) const {
  const timeval limit = timeval_of(timeout);
  ::setsockopt(descriptor_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
}

void TcpSocket::never_block() const {
  ::fcntl(descriptor_, F_SETFL, ::fcntl(descriptor_, F_GETFL) | O_NONBLOCK);
}

bool TcpSocket::write(const void* data, size_t bytes) const {
  const auto* at = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t written = ::send(descriptor_, at, bytes, MSG_NOSIGNAL);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    at += written;
    bytes -= static_cast<size_t>(written);
  }
  return true;
}

bool TcpSocket::read(void* data, size_t bytes) const {
  auto* at = static_cast<char*>(data);
  while (bytes > 0) {
    const ssize_t got = ::recv(descriptor_, at, bytes, 0);
    if (got < 0 && errno == EINTR && !(stop_ends_reads_ && stop_ends_waits())) continue;
    if (got == 0) errno = ECONNRESET;
    if (got <= 0) return false;
    at += got;
    bytes -= static_cast<size_t>(got);
  }
  return true;
}

bool TcpSocket::write_text(const std::string& text) const {
  const uint32_t length = htonl(static_cast<uint32_t>(text.size()));
  return write(&length, sizeof length) && write(text.data(), text.size());
}

bool TcpSocket::read_text(std::string& text) const {
  uint32_t length = 0;
  if (!read(&length, sizeof length)) return false;
  length = ntohl(length);
  if (length > most_text_bytes) {
    errno = EPROTO;
    return false;
  }
  text.resize(length);
  return read(text.data(), text.size());
}

void keep_alive(const TcpSocket& connection) {
  const auto set = [&](int level, int option, int value) {
    ::setsockopt(connection.descriptor(), level, option, &value, sizeof value);
  };
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 60);  // seconds, as the next
  set(IPPROTO_TCP, TCP_KEEPINTVL, 15);
  set(IPPROTO_TCP, TCP_KEEPCNT, 4);
}

void notice_loss_within(const TcpSocket& connection, std::chrono::milliseconds timeout) {
  const auto set = [&](int option, int value) {
    ::setsockopt(connection.descriptor(), IPPROTO_TCP, option, &value, sizeof value);
  };
  constexpr int probes = 4;
  const auto part = std::max<int>(1, static_cast<int>(timeout.count() / 1000 / (probes + 1)));
  set(TCP_KEEPIDLE, part);  // seconds, as the next
  set(TCP_KEEPINTVL, part);
  set(TCP_KEEPCNT, probes);
  set(TCP_USER_TIMEOUT, static_cast<int>(timeout.count()));
}

TcpSocket connect_tcp(const std::string& host, int port, std::chrono::milliseconds timeout) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  if (::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found) != 0) {
    errno = EHOSTUNREACH;
    return {};
  }
  TcpSocket connected;
  for (const addrinfo* a = found; a != nullptr && !connected; a = a->ai_next) {
    TcpSocket tried(::socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol));
    const timeval limit = timeval_of(timeout);  // of connecting, too
    ::setsockopt(tried.descriptor(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (tried && ::connect(tried.descriptor(), a->ai_addr, a->ai_addrlen) == 0)
      connected = std::move(tried);
  }
  ::freeaddrinfo(found);
  if (!connected) return connected;
  const timeval none{};
  ::setsockopt(connected.descriptor(), SOL_SOCKET, SO_SNDTIMEO, &none, sizeof none);
  keep_alive(connected);
  return connected;
}

TcpSocket listen_tcp(int port, const std::string& given) {
  TcpSocket listening(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!listening) return {};
  const int on = 1;
  ::setsockopt(listening.descriptor(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  if (::inet_pton(AF_INET, given.c_str(), &address.sin_addr) != 1) {
    errno = EINVAL;
    return {};
  }
  address.sin_port = htons(static_cast<uint16_t>(port));
  const auto* where = reinterpret_cast<const sockaddr*>(&address);
  if (::bind(listening.descriptor(), where, sizeof address) != 0) return {};
  if (::listen(listening.descriptor(), SOMAXCONN) != 0) return {};
  return listening;
}

int port_of(const TcpSocket& listening) {
  sockaddr_in address{};
  socklen_t length = sizeof address;
  ::getsockname(listening.descriptor(), reinterpret_cast<sockaddr*>(&address), &length);
  return ntohs(address.sin_port);
}

int64_t allow_many_descriptors() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  const rlim_t before = std::exchange(limit.rlim_cur, limit.rlim_max);
  const bool raised = ::setrlimit(RLIMIT_NOFILE, &limit) == 0;
  return static_cast<int64_t>(raised ? limit.rlim_cur : before);
}

void check_descriptors(int64_t ranks, int64_t least) {
  const int64_t allowed = allow_many_descriptors();
  check(allowed >= least, "launch",
        "{} ranks that talk over TCP need {} open files each; ulimit -Hn allows {}", ranks,
        ranks + other_descriptors, allowed);
}

bool stop_ends_waits() {
  return StopSignal::requested() && std::getenv("SWITCHYARD_LAUNCHED") == nullptr;
}

}  // namespace switchyard
