#pragma once

#include <xxhash.h>

#include <cstdint>
#include <map>
#include <memory>

#include "parallel/checkpoint/index.h"

namespace switchyard {

// The checksums of stored pieces, formed from their bytes while these are read for another purpose,
// so that a checkpoint is not read twice. A piece counts as checked once all of it has come by, in
// order. Not for several threads at once.
class ReadChecks {
 public:
  // `bytes` of the piece, from `begin` on, have been read to `data`. Throws Error naming the
  // dataset when they were the last ones and the checksum does not fit.
  void add(const StoredPiece& piece, int64_t piece_bytes, int64_t begin, const void* data,
           int64_t bytes);
  bool is_checked(const StoredPiece& piece) const;

 private:
  struct Progress {
    std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state{nullptr, XXH3_freeState};
    int64_t next = 0;  // byte; -1: checked
  };
  std::map<const StoredPiece*, Progress> pieces_;
};

// Throws Error where the checksum is not the piece's.
void check_checksum(const StoredPiece& piece, uint64_t checksum);

}  // namespace switchyard
