#pragma once

#include <cstdint>
#include <filesystem>

#include "parallel/checkpoint/index.h"

namespace switchyard::test {

// A checkpoint of the size of a large run's: its master and the headers of its shards are real, its
// elements are zeros that take no room on the disk.
struct SparseSize {
  int64_t tensors = 300;
  int shards = 40;
  int cuts = 8;  // pieces of a tensor, on shards that follow each other
  int64_t piece_elements = 4096;
};

// Tensor `number`, cut along rows, or every third one along columns.
IndexedTensor sparse_tensor(const SparseSize& size, int64_t number);
// Step 1; returns its folder.
std::filesystem::path write_sparse_checkpoint(const std::filesystem::path& checkpoints,
                                              const SparseSize& size);

}  // namespace switchyard::test
