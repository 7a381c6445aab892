#pragma once

#include <filesystem>
#include <functional>
#include <utility>
#include <vector>

#include "parallel/checkpoint/files.h"
#include "parallel/checkpoint/index.h"

namespace switchyard {

std::filesystem::path shard_path(const std::filesystem::path& folder, const StoredShard& shard);

// Throws Error unless the file has the size that the index gives.
void check_size(const ReadableFile& file, const StoredShard& shard);

// What is cheap: the shard is there, has its size, and is the one that this checkpoint wrote.
void check_shard(const std::filesystem::path& folder, const StoredShard& shard,
                 const CheckpointInfo& info);

// A shard's pieces and the tensors that they are of, in the order of the file. They belong to the
// index.
using PiecesOfShard = std::vector<std::pair<const IndexedTensor*, const StoredPiece*>>;
std::vector<PiecesOfShard> pieces_by_shard(const CheckpointIndex& index);

// All of a shard: its datasets are the pieces, at the place where the index says, and their
// contents have its checksums; those of pieces that `is_checked` names are not read again.
// `verified` hears of each other piece's bytes.
void verify_shard(const std::filesystem::path& folder, const StoredShard& shard,
                  const PiecesOfShard& pieces,
                  const std::function<bool(const StoredPiece&)>& is_checked,
                  const std::function<void(int64_t bytes)>& verified);

}  // namespace switchyard
