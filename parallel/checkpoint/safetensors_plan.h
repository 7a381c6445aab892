#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "parallel/checkpoint/safetensors.h"

// What a SafetensorsWriter will write, before it does.
namespace switchyard {

struct PlannedTensor {
  size_t shard = 0;
  int64_t offset = 0;  // byte of the shard's file
  int64_t bytes = 0;
  int64_t row_bytes = 0;
  int64_t rows = 0;  // the extent of axis 0; 1 for a scalar, 0 without elements
};

struct SafetensorsPlan {
  std::vector<PlannedTensor> tensors;  // in the order of those given
  std::vector<std::string> files;      // of the shards
  std::vector<std::string> headers;    // with their length, padded to a multiple of 8 bytes
  int64_t bytes = 0;                   // of all tensors
};

// Shards take tensors in their order; within one those of 4-byte elements come first, so that all
// are aligned. Throws Error for tensors that the format cannot hold: names that are empty, taken or
// not text, types other than f32, f16 and bf16.
SafetensorsPlan plan_safetensors(const std::vector<SafetensorsWriter::Tensor>& tensors,
                                 int64_t max_shard_bytes);
// Text of the index of shards.
std::string index_text(const std::vector<SafetensorsWriter::Tensor>& tensors,
                       const SafetensorsPlan& plan);

}  // namespace switchyard
