#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "parallel/checkpoint/hdf5_handles.h"
#include "parallel/checkpoint/index.h"

namespace switchyard {

// Writes one shard file of a checkpoint, box after box, under a temporary name until finish(). The
// datasets are contiguous; each carries its place in the global tensor and its checksum.
class ShardWriter {
 public:
  // Gives the elements of a part of the box, row-major; they are used before the next call. Parts
  // come in order and are whole along all axes but the first.
  using Source = std::function<const void*(const Box& part)>;

  ShardWriter(const std::filesystem::path& folder, int rank, const CheckpointInfo& info,
              const std::string& part = {});
  ~ShardWriter();
  ShardWriter(const ShardWriter&) = delete;
  ShardWriter& operator=(const ShardWriter&) = delete;

  // `number` counts the boxes of one tensor in this file. Parts have at most part_bytes, or are a
  // single row. A box without elements stores nothing and is not to be given.
  StoredPiece add(const StoredTensor& tensor, int number, const Box& box, const Source& source,
                  int64_t part_bytes = std::numeric_limits<int64_t>::max());
  // On disk under its final name.
  StoredShard finish();
  // Bytes of tensors written so far.
  int64_t written() const { return written_; }

 private:
  uint64_t write_parts(const hdf5::Id& dataset, const StoredTensor& tensor, const Box& box,
                       const Source& source, int64_t part_bytes);

  std::filesystem::path final_name_, temporary_;
  int rank_ = 0;
  std::string part_;
  int64_t written_ = 0;
  hdf5::Id file_;
  hdf5::Id links_, creation_;  // properties of every dataset
};

// The files of one rank: a shard for each part of its state (shard_part) that it has elements of.
class RankShards {
 public:
  // What is referred to must outlive it.
  RankShards(const std::filesystem::path& folder, int rank, const CheckpointInfo& info)
      : folder_(folder), rank_(rank), info_(info) {}
  // As ShardWriter::add; the piece's shard counts in what finish() gives.
  StoredPiece add(const StoredTensor& tensor, int number, const Box& box,
                  const ShardWriter::Source& source,
                  int64_t part_bytes = std::numeric_limits<int64_t>::max());
  std::vector<StoredShard> finish();

 private:
  const std::filesystem::path& folder_;
  int rank_;
  const CheckpointInfo& info_;
  std::vector<std::pair<std::string, std::unique_ptr<ShardWriter>>> files_;
};

}  // namespace switchyard
