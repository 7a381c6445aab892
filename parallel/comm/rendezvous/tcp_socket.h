#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>

namespace switchyard {

// A connection, closed with its owner. Failures return false and leave errno.
class TcpSocket {
 public:
  TcpSocket() = default;
  explicit TcpSocket(int descriptor) : descriptor_(descriptor) {}
  ~TcpSocket();
  TcpSocket(TcpSocket&& other) noexcept
      : descriptor_(std::exchange(other.descriptor_, -1)),
        stop_ends_reads_(other.stop_ends_reads_) {}
  TcpSocket& operator=(TcpSocket&& other) noexcept;

  explicit operator bool() const { return descriptor_ >= 0; }
  int descriptor() const { return descriptor_; }
  void shut_down() const;  // ends reads and writes that others are in
  // Reads fail with EAGAIN when nothing has come for so long.
  void set_timeout(std::chrono::milliseconds timeout) const;
  void never_block() const;  // reads and writes fail with EAGAIN at once
  // Whether reads fail with EINTR when a signal asks to stop; at first they do not.
  void end_reads_at_stop(bool on) { stop_ends_reads_ = on; }
  bool write(const void* data, size_t bytes) const;
  bool read(void* data, size_t bytes) const;
  // A text, its length first. A stranger's bytes must not become a huge allocation.
  static constexpr size_t most_text_bytes = 1 << 24;
  bool write_text(const std::string& text) const;
  bool read_text(std::string& text) const;

 private:
  int descriptor_ = -1;
  bool stop_ends_reads_ = false;
};

// For a connection that is silent for long: keeps it open, and notices within minutes that the
// other machine is gone. What is written goes at once.
void keep_alive(const TcpSocket& connection);
// For one whose other end must be known to be gone within `timeout`: by silence to keep-alive, or
// when nothing that was sent is taken.
void notice_loss_within(const TcpSocket& connection, std::chrono::milliseconds timeout);
// Empty where nobody listens, or answers within `timeout` (errno says why); 0: the system's.
TcpSocket connect_tcp(const std::string& host, int port, std::chrono::milliseconds timeout = {});
// Listens at an IPv4 address of this machine, or on all interfaces; port 0 is any free one. Empty
// where it cannot.
TcpSocket listen_tcp(int port, const std::string& address = "0.0.0.0");
int port_of(const TcpSocket& listening);

// Raises the limit of open files as far as this process may; what it then is.
int64_t allow_many_descriptors();
// Raises it, and throws Error where this process may not have `least`; it names what `ranks` need.
void check_descriptors(int64_t ranks, int64_t least);
// Of a rank, beside its connections: for all its work, and for the first words with the others.
inline constexpr int64_t other_descriptors = 64, descriptors_to_meet = 16;

// Whether a signal that asks to stop ends a wait for other ranks. Those of `switchyard launch`
// come, or it ends all: its ranks keep the signal until their first step.
bool stop_ends_waits();

}  // namespace switchyard
