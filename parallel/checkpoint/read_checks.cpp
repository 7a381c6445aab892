#include "parallel/checkpoint/read_checks.h"

#include "core/error.h"

namespace switchyard {

void check_checksum(const StoredPiece& piece, uint64_t checksum) {
  check(checksum == piece.checksum, "checkpoint",
        "dataset {} is damaged: its checksum does not fit its contents", piece.dataset);
}

void ReadChecks::OfPiece::add(int64_t begin, const void* data, int64_t bytes) {
  if (begin != next_) return;
  if (!state_) {
    state_.reset(XXH3_createState());
    check(state_ && XXH3_64bits_reset(state_.get()) == XXH_OK, "checkpoint", "no memory for xxh3");
  }
  XXH3_64bits_update(state_.get(), data, static_cast<size_t>(bytes));
  next_ += bytes;
  if (next_ < bytes_) return;
  check_checksum(*piece_, XXH3_64bits_digest(state_.get()));
  state_.reset();
  next_ = -1;
}

ReadChecks::OfPiece& ReadChecks::of(const StoredPiece& piece, int64_t piece_bytes) {
  const std::lock_guard lock(mutex_);
  OfPiece& known = pieces_[&piece];
  known.piece_ = &piece;
  known.bytes_ = piece_bytes;
  return known;
}

bool ReadChecks::is_checked(const StoredPiece& piece) const {
  const auto known = pieces_.find(&piece);
  return known != pieces_.end() && known->second.is_checked();
}

bool ReadChecks::is_begun(const StoredPiece& piece) {
  const std::lock_guard lock(mutex_);
  const auto known = pieces_.find(&piece);
  return known != pieces_.end() && known->second.next_ > 0;
}

}  // namespace switchyard
