#include "parallel/checkpoint/read_jobs.h"

#include <algorithm>

#include "parallel/checkpoint/box.h"

namespace switchyard {

namespace {

constexpr int64_t least_of_a_thread = int64_t{1} << 20;

}  // namespace

int64_t ReadJob::bytes() const {
  int64_t elements = 0;
  for (const ShardedTensor* tensor : tensors)
    for (const Piece& piece : tensor->pieces) elements += piece.box.extent.elements();
  return elements * size_of(entry->tensor.dtype);
}

int64_t bytes_of(const IndexedTensor& entry, const StoredPiece& piece) {
  return piece.box.extent.elements() * size_of(entry.tensor.dtype);
}

std::pair<int, int64_t> place_of(const IndexedTensor& entry) {
  if (entry.pieces.empty()) return {0, 0};
  return {entry.pieces.front().shard, entry.pieces.front().address};
}

std::vector<std::span<const ReadJob>> for_threads(std::span<const ReadJob> jobs) {
  std::vector<std::span<const ReadJob>> parts;
  size_t begin = 0;
  int64_t bytes = 0;
  for (size_t i = 0; i < jobs.size(); ++i) {
    bytes += jobs[i].bytes();
    if (bytes < least_of_a_thread && i + 1 < jobs.size()) continue;
    parts.push_back(jobs.subspan(begin, i + 1 - begin));
    begin = i + 1;
    bytes = 0;
  }
  return parts;
}

bool checks_sum(const ReadJob& job, const StoredPiece& piece, int ranks) {
  Box certain = piece.box;
  auto number =
      static_cast<int64_t>(piece.checksum % static_cast<uint64_t>(piece.box.extent.elements()));
  for (int axis = piece.box.extent.rank() - 1; axis >= 0; --axis) {
    certain.offset[axis] += number % piece.box.extent[axis];
    certain.extent[axis] = 1;
    number /= piece.box.extent[axis];
  }
  int64_t elements = 0;
  bool wants_certain = false;
  for (const ShardedTensor* tensor : job.tensors) {
    for (const Piece& part : tensor->pieces) {
      elements += intersection(part.box, piece.box).extent.elements();
      wants_certain = wants_certain || !intersection(part.box, certain).empty();
    }
  }
  return wants_certain && (ranks > 1 || elements >= piece.box.extent.elements());
}

ReadChecks::Readers readers_of(std::span<const ReadJob> jobs) {
  const bool is_state = std::ranges::any_of(
      jobs, [](const ReadJob& job) { return job.entry->tensor.name.starts_with("/optimizer/"); });
  return is_state ? ReadChecks::Readers::own_parts : ReadChecks::Readers::alike;
}

ReadWay way_to(const StoredTensor& tensor, const ReadChecks* checks) {
  const bool once = checks != nullptr && checks->readers() == ReadChecks::Readers::own_parts;
  return once || tensor.name.starts_with("/optimizer/") ? ReadWay::direct : ReadWay::cached;
}

}  // namespace switchyard
