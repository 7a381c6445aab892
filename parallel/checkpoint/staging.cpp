#include "parallel/checkpoint/staging.h"

#include <omp.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <utility>

#include "core/device.h"
#include "core/error.h"
#include "parallel/checkpoint/checksum.h"
#include "parallel/checkpoint/direct_file.h"

namespace switchyard {

namespace {

struct Part {
  std::byte* to = nullptr;
  std::span<const std::byte> from;
  uint64_t* sum = nullptr;  // none: the checksum is not wanted
};

void copy(const Part& part) {
  if (std::ssize(part.from) < DirectFile::least_bytes) {
    std::memcpy(part.to, part.from.data(), part.from.size());
    if (part.sum != nullptr) *part.sum = checksum_of(part.from);
  } else if (part.sum != nullptr) {
    *part.sum = copy_and_sum(part.to, part.from);
  } else {
    copy_past_caches(part.to, part.from);
  }
}

// All threads of the rank copy: its steps wait for it. The largest parts come first.
void copy_on_host(std::vector<Part> parts) {
  std::ranges::stable_sort(parts, std::greater(),
                           [](const Part& part) { return part.from.size(); });
  const auto count = static_cast<int64_t>(parts.size());
#pragma omp parallel for schedule(dynamic) if (count > 8)
  for (int64_t i = 0; i < count; ++i) copy(parts[static_cast<size_t>(i)]);
}

// Whether threads that take piece after piece end together: none has more than its share.
bool share_by_pieces(std::span<const Part> parts) {
  size_t all = 0, largest = 0;
  for (const Part& part : parts) {
    all += part.from.size();
    largest = std::max(largest, part.from.size());
  }
  return largest <= all / static_cast<size_t>(omp_get_max_threads());
}

// Without checksums, which are of whole pieces.
std::vector<Part> cut(std::span<const Part> pieces) {
  constexpr size_t part_bytes = size_t{1} << 20;
  std::vector<Part> parts;
  for (const Part& piece : pieces) {
    for (size_t begin = 0; begin < piece.from.size(); begin += part_bytes) {
      const size_t bytes = std::min(part_bytes, piece.from.size() - begin);
      parts.push_back({piece.to + begin, piece.from.subspan(begin, bytes)});
    }
  }
  return parts;
}

// All threads of the rank have the system give the pages.
void touch_pages(const Memory& memory) {
  constexpr int64_t part = int64_t{2} << 20;  // a large page, which one thread then has to itself
  const int64_t page = DirectFile::block_bytes(), bytes = memory.bytes();
  auto* const data = static_cast<volatile char*>(memory.data());
#pragma omp parallel for schedule(dynamic, 4)
  for (int64_t begin = 0; begin < bytes; begin += part) {
    const int64_t end = std::min(bytes, begin + part);
    for (int64_t at = begin; at < end; at += page) data[at] = 0;
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
    const int64_t begin = bytes < DirectFile::least_bytes ? end_ : DirectFile::blocks_up_to(end_);
    const bool fits = bytes <= limit - begin;
    staged.pieces.push_back({.box = piece.box,
                             .data = piece.data,
                             .bytes = bytes,
                             .begin = begin,
                             .device = tensor.device,
                             .copied = fits});
    bytes_ += bytes;
    if (fits) {
      copied_ += bytes;
      end_ = begin + bytes;
    }
    from_device_ = from_device_ || tensor.device != Device::cpu;
  }
  tensors_.push_back(std::move(staged));
}

bool Staging::make_buffer() {
  if (buffer_.bytes() >= end_) return false;
  buffer_ = Memory();  // first the old one goes, so that both never live at once
  constexpr const char* name = "checkpoint staging";
  buffer_ = from_device_ ? Memory::pinned(end_, name) : Memory(end_, Device::cpu, name);
  return true;
}

void Staging::copy() {
  std::unique_ptr<Stream> stream;
  std::vector<Part> on_host;
  for (StagedTensor& tensor : tensors_) {
    for (StagedPiece& piece : tensor.pieces) {
      if (!piece.copied) continue;
      const auto* from = static_cast<const std::byte*>(piece.data);
      std::byte* const to = static_cast<std::byte*>(buffer_.data()) + piece.begin;
      if (piece.device == Device::cpu) {
        on_host.push_back({to, {from, static_cast<size_t>(piece.bytes)}, &piece.checksum});
      } else {
        if (!stream) stream = std::make_unique<Stream>(piece.device);
        copy_bytes(to, from, piece.bytes, *stream);
      }
      piece.data = to;
      piece.device = Device::cpu;
    }
  }
  copy_on_host(share_by_pieces(on_host) ? std::move(on_host) : cut(on_host));
  if (stream) stream->synchronize();
}

void Staging::list(std::span<const ShardedTensor> tensors, int64_t limit) {
  tensors_.clear();
  bytes_ = copied_ = end_ = 0;
  from_device_ = false;
  for (const ShardedTensor& tensor : tensors) list(tensor, limit);
}

void Staging::take(std::span<const ShardedTensor> tensors, int64_t limit) {
  list(tensors, limit);
  make_buffer();
  copy();
}

void Staging::reserve(std::span<const ShardedTensor> tensors, int64_t limit) {
  list(tensors, limit);
  if (make_buffer()) touch_pages(buffer_);
  tensors_.clear();
}

}  // namespace switchyard
