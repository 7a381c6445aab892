#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "parallel/checkpoint/checkpoint.h"

namespace switchyard {

// A box of a tensor as a dataset of a shard: row-major and contiguous at a byte of the file, or in
// chunks that HDF5 has compressed.
struct StoredPiece {
  int shard = 0;        // index into CheckpointIndex::shards
  std::string dataset;  // path within the shard
  Box box;
  int64_t address = 0;      // byte of the file where its elements begin
  uint64_t checksum = 0;    // xxh3-64 of its bytes, uncompressed; 0 while nobody knows it
  bool compressed = false;  // then it has no address
};

struct StoredShard {
  int rank = 0;
  int64_t bytes = 0;                  // of the file
  std::string part = {};              // of what the rank holds (shard_part); empty: the rest
  std::optional<uint64_t> rest = {};  // xxh3-64 of the file's bytes outside of its pieces (seal.h)
};

struct IndexedTensor {
  StoredTensor tensor;
  std::vector<std::string> aliases;
  std::vector<StoredPiece> pieces;
};

// What a checkpoint's files hold, tensors ascending by name. Stored as JSON in the master.
struct CheckpointIndex {
  std::vector<StoredShard> shards;
  std::vector<IndexedTensor> tensors;
  bool sealed = false;  // the master that says it ends with its own checksum (seal.h)
};

std::string to_json(const CheckpointIndex& index, bool sealed = false);
CheckpointIndex index_from_json(const std::string& text);  // throws Error

// One index out of the ranks' own; throws Error where they contradict each other.
CheckpointIndex merge(const std::vector<CheckpointIndex>& parts);

// Throws Error naming the tensor unless the boxes of every tensor cover it exactly once, and names
// and aliases are paths of which no two are the same.
void check_index(const CheckpointIndex& index);

// Throws Error unless the name is a path such as "/model/layers.0.mlp.up.weight".
void check_tensor_name(const std::string& name);
void check_tensor(const StoredTensor& tensor);               // its name, and that it has axes
void check_box(const StoredTensor& tensor, const Box& box);  // that it lies within

inline constexpr const char* own_group = "/checkpoint";  // of the master; no tensor lies there
inline constexpr const char* index_dataset = "/checkpoint/index";
inline constexpr const char* documents_group = "/checkpoint/documents";

}  // namespace switchyard
