#include "parallel/checkpoint/staging.h"

#include <algorithm>
#include <cstring>
#include <memory>

#include "core/device.h"
#include "core/error.h"

namespace switchyard {

namespace {

struct Part {
  char* to;
  const char* from;
  int64_t bytes;
};

// All threads of the rank copy: its steps wait for it.
void copy_on_host(std::span<const Part> parts) {
  const auto count = static_cast<int64_t>(parts.size());
#pragma omp parallel for schedule(dynamic, 8) if (count > 8)
  for (int64_t i = 0; i < count; ++i) {
    const Part& part = parts[static_cast<size_t>(i)];
    std::memcpy(part.to, part.from, static_cast<size_t>(part.bytes));
  }
}

}  // namespace

void Staging::list(const ShardedTensor& tensor, int64_t limit) {
  StagedTensor staged{{tensor.name, tensor.global, tensor.dtype}, tensor.aliases, {}};
  check_tensor(staged.tensor);
  for (const Piece& piece : tensor.pieces) {
    check_box(staged.tensor, piece.box);
    if (piece.box.empty()) continue;
    check(piece.data != nullptr, "checkpoint", "{} has a box of {} without memory", tensor.name,
          piece.box.extent.to_string());
    const int64_t bytes = piece.box.extent.elements() * size_of(tensor.dtype);
    const bool fits = bytes <= limit - copied_;
    staged.pieces.push_back({.box = piece.box,
                             .data = piece.data,
                             .bytes = bytes,
                             .device = tensor.device,
                             .copied = fits});
    bytes_ += bytes;
    if (fits) copied_ += bytes;
    from_device_ = from_device_ || tensor.device != Device::cpu;
  }
  tensors_.push_back(std::move(staged));
}

void Staging::reserve() {
  if (buffer_.bytes() >= copied_) return;
  buffer_ = Memory();  // first the old one goes, so that both never live at once
  constexpr const char* name = "checkpoint staging";
  buffer_ = from_device_ ? Memory::pinned(copied_, name) : Memory(copied_, Device::cpu, name);
}

void Staging::copy() {
  constexpr int64_t part_bytes = int64_t{1} << 20;
  std::unique_ptr<Stream> stream;
  std::vector<Part> on_host;
  char* to = static_cast<char*>(buffer_.data());
  for (StagedTensor& tensor : tensors_) {
    for (StagedPiece& piece : tensor.pieces) {
      if (!piece.copied) continue;
      const auto* from = static_cast<const char*>(piece.data);
      if (piece.device == Device::cpu) {
        for (int64_t begin = 0; begin < piece.bytes; begin += part_bytes)
          on_host.push_back({to + begin, from + begin, std::min(part_bytes, piece.bytes - begin)});
      } else {
        if (!stream) stream = std::make_unique<Stream>(piece.device);
        copy_bytes(to, from, piece.bytes, *stream);
      }
      piece.data = to;
      piece.device = Device::cpu;
      to += piece.bytes;
    }
  }
  copy_on_host(on_host);
  if (stream) stream->synchronize();
}

void Staging::take(std::span<const ShardedTensor> tensors, int64_t limit) {
  tensors_.clear();
  bytes_ = copied_ = 0;
  from_device_ = false;
  for (const ShardedTensor& tensor : tensors) list(tensor, limit);
  reserve();
  copy();
}

}  // namespace switchyard
