#include "parallel/checkpoint/guest_files.h"

#include "core/error.h"
#include "core/files.h"
#include "parallel/checkpoint/files.h"

namespace switchyard {

GuestFiles::GuestFiles(const std::filesystem::path& folder, const CheckpointIndex& places)
    : files_(places.shards.size()) {
  for (const IndexedTensor& entry : places.tensors) {
    for (const StoredPiece& piece : entry.pieces) {
      const Shape& extent = piece.box.extent;
      pieces_.push_back({piece, extent.elements() / extent[0] * size_of(entry.tensor.dtype)});
      DirectFile& file = files_.at(static_cast<size_t>(piece.shard));
      if (!file.path().empty()) continue;
      const StoredShard& shard = places.shards[static_cast<size_t>(piece.shard)];
      const auto path = temporary_of(folder / shards_name / shard_name(shard.rank, shard.part));
      const std::error_code problem = file.open(path, DirectFile::Begin::as_it_is);
      check(!problem, "checkpoint", "cannot open {}, which rank {} has made: {}", path.string(),
            shard.rank, problem.message());
    }
  }
}

void GuestFiles::write(size_t piece, const PieceSource& source, int64_t part_bytes) {
  write_to(piece, [&](const PiecePlace& place) {
    return write_by_parts(queue_, place, source, part_bytes);
  });
}

void GuestFiles::write_staying(size_t piece, const void* data) {
  write_to(piece,
           [&](const PiecePlace& place) { return switchyard::write_staying(queue_, place, data); });
}

void GuestFiles::write_to(size_t number, const std::function<uint64_t(const PiecePlace&)>& body) {
  Piece& piece = pieces_.at(number);
  StoredPiece& stored = piece.stored;
  const DirectFile& file = files_[static_cast<size_t>(stored.shard)];
  check(!piece.written, "checkpoint", "{} was written twice", stored.dataset);
  stored.checksum = body({file, stored, piece.row_bytes});
  piece.written = true;
}

void GuestFiles::wait() { queue_.wait(); }

// Their owner's fsync counts; this one tells of errors that came to this descriptor alone.
void GuestFiles::finish() {
  for (const Piece& piece : pieces_) {
    check(piece.written, "checkpoint", "{} was reserved and never written", piece.stored.dataset);
  }
  wait();
  for (DirectFile& file : files_) {
    if (file.path().empty()) continue;
    const std::error_code problem = file.sync_and_close();
    check(!problem, "checkpoint", "cannot write {} to the disk: {}", file.path().string(),
          problem.message());
  }
}

}  // namespace switchyard
