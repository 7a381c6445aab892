#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "parallel/checkpoint/direct_file.h"
#include "parallel/checkpoint/hdf5_handles.h"
#include "parallel/checkpoint/index.h"
#include "parallel/checkpoint/piece_files.h"
#include "parallel/checkpoint/seal.h"
#include "parallel/checkpoint/write_queue.h"

namespace switchyard {

// Writes one shard file of a checkpoint under a temporary name until finish(). A box first gets its
// place, a contiguous dataset with its place in the global tensor (at a block's begin,
// DirectFile::block_bytes(), where it has DirectFile::least_bytes); its bytes are then written
// there without HDF5, which is told their checksum by describe(). Throws Errors that name the file;
// those of the disk may come with a later call.
class ShardWriter {
 public:
  // The queue must outlive it, and be waited for before finish().
  ShardWriter(const std::filesystem::path& folder, int rank, const CheckpointInfo& info,
              WriteQueue& queue, const std::string& part = {});
  ~ShardWriter();
  ShardWriter(const ShardWriter&) = delete;
  ShardWriter& operator=(const ShardWriter&) = delete;

  // `number` counts the boxes of one tensor in this file. A box without elements stores nothing and
  // is not to be given. A checksum that is known already is not formed again, and HDF5 is told it
  // for less. The result counts the pieces of this file.
  size_t reserve(const StoredTensor& tensor, int number, const Box& box, uint64_t checksum = 0);
  void take_room();  // on the disk, for all that is reserved
  // Each once, in any order (PieceFiles).
  void write(size_t piece, const PieceSource& source, int64_t part_bytes);
  void write_staying(size_t piece, const void* data);
  // Another process writes it, and brings its bytes to this machine's system before finish().
  void note_written(size_t piece, uint64_t checksum);
  // All but its shard; the checksum is there behind its write.
  const StoredPiece& piece(size_t number) const { return places_.at(number).piece; }
  // Ends all that HDF5 writes, when every checksum is known; nothing is reserved any more. The
  // pieces' bytes may still be on their way.
  StoredShard describe();
  // On disk under its final name: it was described, and all is written.
  void finish();

 private:
  struct Place {
    StoredPiece piece;
    int64_t row_bytes = 0;
    uint64_t told = 0;  // to HDF5 as its checksum
    bool written = false;
  };

  hdf5::Id create_dataset(const StoredTensor& tensor, const StoredPiece& piece);
  void check_written(const Place& place) const;
  void end_hdf5();
  void write_to(size_t piece, const std::function<uint64_t(const PiecePlace&)>& body);
  std::vector<FileRange> ranges() const;  // of the pieces' bytes

  std::filesystem::path final_name_, temporary_;
  int rank_ = 0;
  std::string part_;
  WriteQueue& queue_;
  hdf5::Id file_;
  hdf5::Id creation_;  // properties of every dataset
  DirectFile bytes_;   // of the same file
  std::vector<Place> places_;
  int64_t end_ = 0;       // of the last place
  int64_t room_end_ = 0;  // up to here the disk has given room
};

// The files of one rank: a shard for each part of its state (shard_part) that it has elements of.
// Either all is reserved and then written in any order, or piece after piece is added.
class RankShards final : public PieceFiles {
 public:
  // What is referred to must outlive it.
  RankShards(const std::filesystem::path& folder, int rank, const CheckpointInfo& info)
      : folder_(folder), rank_(rank), info_(info) {}
  // As ShardWriter's; the result counts all pieces of the rank.
  size_t reserve(const StoredTensor& tensor, int number, const Box& box, uint64_t checksum = 0);
  void take_room();
  using PieceFiles::write;
  void write(size_t piece, const PieceSource& source, int64_t part_bytes) override;
  void write_staying(size_t piece, const void* data) override;
  void note_written(size_t piece, uint64_t checksum);
  // Its shard counts in `shards` and in what finish() gives.
  const StoredPiece& piece(size_t number) const override { return pieces_.at(number).piece; }
  const StoredPiece& add(const StoredTensor& tensor, int number, const Box& box,
                         const PieceSource& source, int64_t part_bytes = whole);
  std::vector<StoredShard> shards() const;  // so far, without their sizes
  void wait();  // until all bytes have been written; their buffers are given back
  // As ShardWriter's, once. HDF5's writes and those past the cache wait for each other: it is to
  // come before the first of these, or behind wait().
  const std::vector<StoredShard>& describe();
  // All that was reserved must be written. Describes the files where that has not been done.
  std::vector<StoredShard> finish();

 private:
  struct Place {
    ShardWriter* file = nullptr;
    size_t number = 0;  // in the file
    StoredPiece piece;
  };
  void keep_checksum(Place& place);

  const std::filesystem::path& folder_;
  int rank_;
  const CheckpointInfo& info_;
  std::vector<std::pair<std::string, std::unique_ptr<ShardWriter>>> files_;
  std::vector<Place> pieces_;
  std::optional<std::vector<StoredShard>> described_;
  WriteQueue queue_;  // ends before the files that it writes
};

}  // namespace switchyard
