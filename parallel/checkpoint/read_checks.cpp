#include "parallel/checkpoint/read_checks.h"

#include "core/error.h"

namespace switchyard {

void check_checksum(const StoredPiece& piece, uint64_t checksum) {
  check(checksum == piece.checksum, "checkpoint",
        "dataset {} is damaged: its checksum does not fit its contents", piece.dataset);
}

void ReadChecks::add(const StoredPiece& piece, int64_t piece_bytes, int64_t begin, const void* data,
                     int64_t bytes) {
  Progress& progress = pieces_[&piece];
  if (progress.next < 0 || begin != progress.next) return;
  if (!progress.state) {
    progress.state.reset(XXH3_createState());
    check(progress.state && XXH3_64bits_reset(progress.state.get()) == XXH_OK, "checkpoint",
          "no memory for xxh3");
  }
  XXH3_64bits_update(progress.state.get(), data, static_cast<size_t>(bytes));
  progress.next += bytes;
  if (progress.next < piece_bytes) return;
  check_checksum(piece, XXH3_64bits_digest(progress.state.get()));
  progress = {.next = -1};
}

bool ReadChecks::is_checked(const StoredPiece& piece) const {
  const auto known = pieces_.find(&piece);
  return known != pieces_.end() && known->second.next < 0;
}

}  // namespace switchyard
