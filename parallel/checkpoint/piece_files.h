#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <string>

#include "core/error.h"
#include "parallel/checkpoint/direct_file.h"
#include "parallel/checkpoint/index.h"
#include "parallel/checkpoint/write_queue.h"

namespace switchyard {

// Gives the elements of a part of a box, row-major; they are used before the next call. Parts come
// in order and are whole along all axes but the first.
using PieceSource = std::function<const void*(const Box& part)>;

// The name of a tensor's dataset in a shard, in which `number` counts the tensor's boxes.
std::string dataset_name(const std::string& tensor, int number);

// Runs `body` with what is written, and where, added to its errors.
template <class Body>
auto while_writing(const std::string& what, const std::filesystem::path& file, Body body) {
  try {
    return body();
  } catch (const Error& error) {
    throw Error(fmt::format("{}, while writing {} to {}", error.what(), what, file.string()),
                error.code());
  }
}

// Where a piece's elements go.
struct PiecePlace {
  const DirectFile& file;
  const StoredPiece& piece;
  int64_t row_bytes = 0;  // of one along the first axis
};
// Both queue the bytes and return their checksum. Parts have at most part_bytes, or are a single
// row; data that stay do so until the queue was waited for (WriteQueue::add_staying), and a
// checksum of theirs that is known is taken for right.
uint64_t write_by_parts(WriteQueue& queue, const PiecePlace& place, const PieceSource& source,
                        int64_t part_bytes);
uint64_t write_staying(WriteQueue& queue, const PiecePlace& place, const void* data);

// Places for a rank's pieces, counted in the order in which they were given. Each is written once,
// in any order. Errors name the file; those of the disk may come with a later call.
class PieceFiles {
 public:
  static constexpr int64_t whole = std::numeric_limits<int64_t>::max();
  virtual ~PieceFiles() = default;
  virtual void write(size_t piece, const PieceSource& source, int64_t part_bytes) = 0;
  // The data stay where they are until all is finished, which spares copying them where memory and
  // file begin alike within a block (as large datasets do: with one).
  virtual void write_staying(size_t piece, const void* data) = 0;
  // Its checksum is there behind its write.
  virtual const StoredPiece& piece(size_t number) const = 0;
  void write(size_t piece, const void* data);  // which may change afterwards
};

}  // namespace switchyard
