#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "parallel/checkpoint/box.h"
#include "parallel/checkpoint/hdf5_handles.h"
#include "parallel/checkpoint/index.h"
#include "parallel/checkpoint/piece_files.h"

// Pieces that HDF5 keeps in chunks, each shuffled and deflated. It reads and writes them itself,
// one thread of a process at a time.
namespace switchyard {

// As read_common, of a compressed piece of the file. `seen` hears of bytes that lie together on
// both sides. Throws Error naming the dataset where HDF5 cannot read it.
int64_t read_compressed(const std::filesystem::path& file, const StoredTensor& tensor,
                        const StoredPiece& piece, const Box& wanted, void* out,
                        const Seen& seen = {});
bool is_compressed(const hdf5::Id& dataset);

// Writes a shard file of such pieces, as ShardWriter does of others, in bounded memory.
class CompressedShard {
 public:
  CompressedShard(const std::filesystem::path& folder, int rank, const CheckpointInfo& info,
                  std::string part);
  ~CompressedShard();
  CompressedShard(const CompressedShard&) = delete;
  CompressedShard& operator=(const CompressedShard&) = delete;

  // A tensor's only piece in this file. Parts come in order, are whole along all axes but the
  // first, and have at most part_bytes, or are a single row. The result is all but its shard.
  StoredPiece add(const StoredTensor& tensor, const Box& box, const PieceSource& source,
                  int64_t part_bytes);
  StoredShard finish();  // on disk under its final name

 private:
  void write_part(const StoredTensor& tensor, const Box& box, const Box& part, const void* data);

  std::filesystem::path final_name_, temporary_;
  int rank_ = 0;
  std::string part_;
  hdf5::Id file_, dataset_;
};

}  // namespace switchyard
