#pragma once

#include <memory>
#include <string>
#include <vector>

#include "parallel/checkpoint/checkpoint.h"

namespace switchyard {

// Reads of some of a checkpoint's tensors in parts, whose checksums are compared on the way: those
// of pieces that come by whole and in order.
class CheckedReads {
 public:
  explicit CheckedReads(const CheckpointReader& reader);  // which must outlive it
  ~CheckedReads();
  // As CheckpointReader::read; throws Error as verify() does for a damaged piece.
  void read(const std::string& name, const Box& box, void* out);
  // For CheckpointReader::verify_rest: 1 for pieces that are checked, or of which nothing was read.
  std::vector<int32_t> checked_or_unread() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace switchyard
