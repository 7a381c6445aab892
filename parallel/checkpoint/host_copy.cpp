#include "parallel/checkpoint/host_copy.h"

#include <algorithm>
#include <cstring>

namespace switchyard {

void HostCopy::reserve(int64_t bytes, Device device) {
  if (!stream_) stream_ = std::make_unique<Stream>(device);
  if (pinned_.bytes() >= bytes) return;
  pinned_ = Memory();
  pinned_ = Memory::pinned(bytes, "checkpoint copies");
}

void HostCopy::bring(void* to, const void* from, int64_t bytes, Device device) {
  if (device == Device::cpu) {
    std::memcpy(to, from, static_cast<size_t>(bytes));
    return;
  }
  reserve(part_bytes_, device);
  for (int64_t begin = 0; begin < bytes; begin += part_bytes_) {
    const int64_t part = std::min(part_bytes_, bytes - begin);
    copy_bytes(pinned_.data(), static_cast<const char*>(from) + begin, part, *stream_);
    stream_->synchronize();
    std::memcpy(static_cast<char*>(to) + begin, pinned_.data(), static_cast<size_t>(part));
  }
}

void HostCopy::send(const ShardedTensor& tensor, const Piece& piece, const Fill& fill) {
  if (tensor.device == Device::cpu) {
    fill(piece.box, piece.data);
    return;
  }
  const int64_t row = piece.box.extent.elements() / piece.box.extent[0] * size_of(tensor.dtype);
  const int64_t rows = std::max<int64_t>(1, part_bytes_ / row);
  reserve(std::max(part_bytes_, row), tensor.device);
  for (int64_t begin = 0; begin < piece.box.extent[0]; begin += rows) {
    Box part = piece.box;
    part.offset[0] += begin;
    part.extent[0] = std::min(rows, piece.box.extent[0] - begin);
    fill(part, pinned_.data());
    copy_bytes(static_cast<char*>(piece.data) + begin * row, pinned_.data(), part.extent[0] * row,
               *stream_);
    stream_->synchronize();
  }
}

}  // namespace switchyard
