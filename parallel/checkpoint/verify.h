#pragma once

#include <filesystem>
#include <functional>

#include "parallel/checkpoint/files.h"
#include "parallel/checkpoint/index.h"

namespace switchyard {

std::filesystem::path shard_path(const std::filesystem::path& folder, const StoredShard& shard);

// Throws Error unless the file has the size that the index gives.
void check_size(const ReadableFile& file, const StoredShard& shard);

// What is cheap: the shard is there, has its size, and is the one that this checkpoint wrote.
void check_shard(const std::filesystem::path& folder, const StoredShard& shard,
                 const CheckpointInfo& info);

// All of a shard: its datasets are those of the index, at the place where it says, and their
// contents have its checksums; those of pieces that `is_checked` names are not read again.
// `verified` hears of each other piece's bytes.
void verify_shard(const std::filesystem::path& folder, const CheckpointIndex& index, int shard,
                  const std::function<bool(const StoredPiece&)>& is_checked,
                  const std::function<void(int64_t bytes)>& verified);

}  // namespace switchyard
