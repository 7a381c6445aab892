#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/memory.h"
#include "core/sharded_tensor.h"
#include "parallel/checkpoint/checkpoint.h"
#include "parallel/checkpoint/index.h"

namespace switchyard {

// A box of a tensor whose elements lie dense in memory.
struct StagedPiece {
  Box box;
  const void* data = nullptr;
  int64_t bytes = 0;
  int64_t begin = 0;            // of the copy, in the buffer
  Device device = Device::cpu;  // of `data`
  bool copied = false;          // else it is the tensor's own memory
  size_t place = 0;             // in the rank's files (RankShards::reserve)
  uint64_t checksum = 0;        // xxh3-64; 0 where copying has not formed it
};
struct StagedTensor {
  StoredTensor tensor;
  std::vector<std::string> aliases;
  std::vector<StagedPiece> pieces;
};

// What a rank is to write, copied to host memory that is kept from one save to the next. From and
// to a GPU that memory is pinned. Large pieces begin there as they do in a shard (ShardWriter).
// Copying on the host forms checksums, which then cost nothing, where each thread has a piece to
// itself: unless one piece is so large that the others would wait for its thread.
class Staging {
 public:
  // Copies the pieces in their order, each that still fits into `limit` bytes; the others stay
  // where they are. Device memory must be at rest. Throws Error for a box without memory or outside
  // its tensor, and where there is no room.
  void take(std::span<const ShardedTensor> tensors, int64_t limit);
  // Makes the memory that take() would, if it is not there, and has the system give its pages,
  // which else is half of the first copy's time or more.
  void reserve(std::span<const ShardedTensor> tensors, int64_t limit);
  int64_t reserved() const { return buffer_.bytes(); }
  const void* memory() const { return buffer_.data(); }
  std::vector<StagedTensor>& tensors() { return tensors_; }
  int64_t bytes() const { return bytes_; }               // of all pieces
  int64_t uncopied() const { return bytes_ - copied_; }  // of those that did not fit

 private:
  void list(std::span<const ShardedTensor> tensors, int64_t limit);
  void list(const ShardedTensor& tensor, int64_t limit);
  bool make_buffer();  // where it is too small
  void copy();

  Memory buffer_;
  std::vector<StagedTensor> tensors_;
  int64_t bytes_ = 0, copied_ = 0;
  int64_t end_ = 0;  // of what is taken of the buffer
  bool from_device_ = false;
};

}  // namespace switchyard
