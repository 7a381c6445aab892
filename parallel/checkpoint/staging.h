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
  Device device = Device::cpu;  // of `data`
  bool copied = false;          // else it is the tensor's own memory
  size_t place = 0;             // in the rank's files (RankShards::reserve)
};
struct StagedTensor {
  StoredTensor tensor;
  std::vector<std::string> aliases;
  std::vector<StagedPiece> pieces;
};

// What a rank is to write, copied to host memory that is kept from one save to the next. From and
// to a GPU that memory is pinned.
class Staging {
 public:
  // Copies the pieces in their order, each that still fits into `limit` bytes; the others stay
  // where they are. Device memory must be at rest. Throws Error for a box without memory or outside
  // its tensor, and where there is no room.
  void take(std::span<const ShardedTensor> tensors, int64_t limit);
  std::vector<StagedTensor>& tensors() { return tensors_; }
  int64_t bytes() const { return bytes_; }               // of all pieces
  int64_t uncopied() const { return bytes_ - copied_; }  // of those that did not fit

 private:
  void list(const ShardedTensor& tensor, int64_t limit);
  void reserve();
  void copy();

  Memory buffer_;
  std::vector<StagedTensor> tensors_;
  int64_t bytes_ = 0, copied_ = 0;
  bool from_device_ = false;
};

}  // namespace switchyard
