#pragma once

#include <deque>
#include <filesystem>
#include <vector>

#include "parallel/checkpoint/direct_file.h"
#include "parallel/checkpoint/index.h"
#include "parallel/checkpoint/piece_files.h"
#include "parallel/checkpoint/write_queue.h"

namespace switchyard {

// Places for this rank's pieces in the files of another rank of this machine, which makes them
// (RankShards) and brings them to the disk when this one has finished.
class GuestFiles final : public PieceFiles {
 public:
  // Every piece of `places` has its dataset, address and shard. Opens the files.
  GuestFiles(const std::filesystem::path& folder, const CheckpointIndex& places);
  using PieceFiles::write;
  void write(size_t piece, const PieceSource& source, int64_t part_bytes) override;
  void write_staying(size_t piece, const void* data) override;
  const StoredPiece& piece(size_t number) const override { return pieces_.at(number).stored; }
  size_t count() const { return pieces_.size(); }
  void wait();    // until all bytes have been written
  void finish();  // all was written; the system has it

 private:
  struct Piece {
    StoredPiece stored;
    int64_t row_bytes = 0;
    bool written = false;
  };
  void write_to(size_t piece, const std::function<uint64_t(const PiecePlace&)>& body);

  std::vector<Piece> pieces_;
  std::deque<DirectFile> files_;  // by shard; without pieces of this rank not open
  WriteQueue queue_;              // ends before the files that it writes
};

}  // namespace switchyard
