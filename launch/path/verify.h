#pragma once

#include <cstdint>
#include <filesystem>
#include <span>

#include "parallel/checkpoint/checkpoint.h"

namespace switchyard {

// CheckpointReader::verify() of this rank's part of the shards; the first part shows how far it is.
void verify_with_progress(const CheckpointReader& reader, int part = 0, int parts = 1);
// CheckpointReader::verify_rest() likewise.
void verify_rest_with_progress(const CheckpointReader& reader, std::span<const int32_t> checked,
                               int part, int parts);

// What a checkpoint that is verified consists of.
struct VerifiedFiles {
  int64_t files = 0, bytes = 0, tensors = 0;
};
VerifiedFiles verified_files(const CheckpointReader& reader, const std::filesystem::path& folder);

}  // namespace switchyard
