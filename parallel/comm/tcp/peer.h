#pragma once

#include <cstdint>
#include <string>

#include "parallel/comm/rendezvous/tcp_socket.h"

namespace switchyard {

// Another rank as this one is connected to it.
struct TcpPeer {
  TcpSocket socket;
  int64_t readable_process = 0;  // whose memory this one may read; 0: it may not
};

// Copies `bytes` from `address` in another process of this machine; false where that is not allowed
// or not possible.
bool copy_from_process(int64_t process, uint64_t address, void* to, int64_t bytes);

// A number in this process that others find by `where`: "process address".
class MemoryProbe {
 public:
  explicit MemoryProbe(uint64_t token) : token_(token) {}
  MemoryProbe(const MemoryProbe&) = delete;
  MemoryProbe& operator=(const MemoryProbe&) = delete;
  std::string where() const;
  // The process of another's probe with the same token, where it can be read here; else 0.
  int64_t process_at(const std::string& where) const;

 private:
  const uint64_t token_;
};

}  // namespace switchyard
