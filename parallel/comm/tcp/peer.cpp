#include "parallel/comm/tcp/peer.h"

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <bit>

#include "core/error.h"
#include "core/text.h"

namespace switchyard {

bool copy_from_process(int64_t process, uint64_t address, void* to, int64_t bytes) {
  constexpr int64_t most = 1 << 30;  // in one call of the kernel's
  auto* at = static_cast<std::byte*>(to);
  while (bytes > 0) {
    const auto length = static_cast<size_t>(std::min(bytes, most));
    const iovec here{.iov_base = at, .iov_len = length};
    const iovec there{.iov_base = std::bit_cast<void*>(static_cast<uintptr_t>(address)),
                      .iov_len = length};
    const ssize_t got = ::process_vm_readv(static_cast<pid_t>(process), &here, 1, &there, 1, 0);
    if (got <= 0) return false;
    at += got;
    address += static_cast<uint64_t>(got);
    bytes -= got;
  }
  return true;
}

std::string MemoryProbe::where() const {
  return fmt::format("{} {}", getpid(), reinterpret_cast<uintptr_t>(&token_));
}

// A process of another machine, or of another container, may have the same number.
int64_t MemoryProbe::process_at(const std::string& where) const {
  const auto words = split_at(' ', where);
  if (words.size() != 2) return 0;
  const auto process = parse_number<int64_t>(words[0]).value_or(0);
  const auto address = parse_number<uint64_t>(words[1]).value_or(0);
  uint64_t found = 0;
  const bool read = process > 0 && copy_from_process(process, address, &found, sizeof found);
  return read && found == token_ ? process : 0;
}

}  // namespace switchyard
