#pragma once

#include <xxhash.h>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>

#include "parallel/checkpoint/index.h"

namespace switchyard {

// The checksums of stored pieces, formed from their bytes while these are read for another purpose,
// so that a checkpoint is not read twice. A piece counts as checked once all of it has come by, in
// order. Several threads may ask for different pieces.
class ReadChecks {
 public:
  // Several ranks of a machine may read alike, so what they share comes through the system's cache,
  // unless it is said that this process has parts of its own, of which it reads each byte once.
  enum class Readers : uint8_t { alike, own_parts };
  explicit ReadChecks(Readers readers = Readers::alike) : readers_(readers) {}
  Readers readers() const { return readers_; }

  class OfPiece {
   public:
    // Bytes of the piece, from `begin` on, have been read to `data`. Throws Error naming the
    // dataset when they were the last ones and the checksum does not fit.
    void add(int64_t begin, const void* data, int64_t bytes);
    bool is_checked() const { return next_ < 0; }
    int64_t next() const { return next_; }  // the byte that is to be added next; -1: none
    int64_t bytes() const { return bytes_; }

   private:
    friend class ReadChecks;
    const StoredPiece* piece_ = nullptr;
    int64_t bytes_ = 0;  // of the piece
    std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state_{nullptr, XXH3_freeState};
    int64_t next_ = 0;  // byte; -1: checked
  };

  OfPiece& of(const StoredPiece& piece, int64_t piece_bytes);
  bool is_checked(const StoredPiece& piece) const;
  bool is_begun(const StoredPiece& piece);  // and not checked

 private:
  Readers readers_;
  std::mutex mutex_;
  std::map<const StoredPiece*, OfPiece> pieces_;
};

// Throws Error where the checksum is not the piece's.
void check_checksum(const StoredPiece& piece, uint64_t checksum);

}  // namespace switchyard
