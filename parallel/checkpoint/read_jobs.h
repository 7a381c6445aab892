#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "core/sharded_tensor.h"
#include "parallel/checkpoint/files.h"
#include "parallel/checkpoint/index.h"
#include "parallel/checkpoint/read_checks.h"

namespace switchyard {

// What is read of one stored tensor, in this order: the checksum of a piece is formed in order.
struct ReadJob {
  const IndexedTensor* entry = nullptr;
  std::vector<const ShardedTensor*> tensors = {};

  int64_t bytes() const;
};

int64_t bytes_of(const IndexedTensor& entry, const StoredPiece& piece);

// Where a tensor begins, in the order of the files: its shard and the byte.
std::pair<int, int64_t> place_of(const IndexedTensor& entry);

// Neighbours in the files, of some bytes together, are read by one thread, which finds one behind
// the other.
std::vector<std::span<const ReadJob>> for_threads(std::span<const ReadJob> jobs);

// Who forms a piece's checksum: a rank that reads all of it, and otherwise that one of its readers
// that wants a certain element, which differs from piece to piece. So each piece is read whole by
// one of them, mostly, and nobody needs to read it once more.
bool checks_sum(const ReadJob& job, const StoredPiece& piece, int ranks);

// Who reads the optimizer's state trains: ranks have parts of it, and of the weights the same
// parts. Otherwise several of a machine may read the weights alike.
ReadChecks::Readers readers_of(std::span<const ReadJob> jobs);
ReadWay way_to(const StoredTensor& tensor, const ReadChecks* checks);

}  // namespace switchyard
