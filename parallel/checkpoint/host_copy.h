#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "core/memory.h"
#include "core/sharded_tensor.h"

namespace switchyard {

// Moves a checkpoint's pieces between host memory and wherever they lie. Device memory goes through
// a pinned buffer of bounded size, which is made when it is first needed. The host waits.
class HostCopy {
 public:
  explicit HostCopy(int64_t part_bytes = int64_t{64} << 20) : part_bytes_(part_bytes) {}

  // to (on the host) = from (on `device`)
  void bring(void* to, const void* from, int64_t bytes, Device device);
  // Fills a piece of a tensor: in place on the host; on a device by parts, whole along all axes but
  // the first, of at most part_bytes or a single row.
  using Fill = std::function<void(const Box& part, void* out)>;
  void send(const ShardedTensor& tensor, const Piece& piece, const Fill& fill);

 private:
  void reserve(int64_t bytes, Device device);

  int64_t part_bytes_;
  std::unique_ptr<Stream> stream_;
  Memory pinned_;
};

}  // namespace switchyard
