#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "parallel/communicator.h"
#include "parallel/sharded_tensor.h"

namespace switchyard {

// What a checkpoint says of itself, besides its tensors.
struct CheckpointInfo {
  int format_version = 1;
  std::string id;             // random, 32 hexadecimal digits; also in every shard
  int64_t step = 0;
  int64_t samples = 0;        // consumed: the data position
  double loss = 0;            // of that step's global batch
  // JSON texts, stored as string datasets: "specification", "lineage", "model", ...
  std::map<std::string, std::string> documents;
};

// A checkpoint is the folder step-NNNNNNNN; it is complete when checkpoint.h5 exists in it.
struct CheckpointEntry {
  int64_t step = 0;
  std::filesystem::path folder;
  bool complete = false;
};
std::filesystem::path checkpoint_folder(const std::filesystem::path& checkpoints, int64_t step);
// All of a run's checkpoint folders, by ascending step; an absent `checkpoints` has none.
std::vector<CheckpointEntry> list_checkpoints(const std::filesystem::path& checkpoints);

// Writes a checkpoint in two calls: stage() copies what is to be written and takes no part in any
// collective; commit() writes it and is collective over `comm`. Each rank writes its pieces into
// shards/, rank 0 then the master checkpoint.h5 with a virtual dataset for every tensor; the folder
// counts as complete from the rename of the master on. An incomplete folder of the same step is
// removed first; a complete one is never touched (Error). Any rank's failure (disk full, ...) is
// thrown as Error on every rank, and leaves no complete checkpoint.
class CheckpointWriter {
 public:
  CheckpointWriter(std::filesystem::path checkpoints, Communicator& comm);
  ~CheckpointWriter();
  void stage(CheckpointInfo info, std::span<const ShardedTensor> tensors);
  void commit();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

struct StoredTensor {
  std::string name;
  Shape shape;
  DType dtype = DType::f32;
};

// Reads a complete checkpoint. Opening checks that every shard is there, belongs to it and has the
// extents that the master maps; nothing missing is ever read as a fill value. Errors name the file.
class CheckpointReader {
 public:
  explicit CheckpointReader(const std::filesystem::path& folder);
  ~CheckpointReader();
  CheckpointReader(CheckpointReader&&) noexcept;

  const CheckpointInfo& info() const;
  const std::vector<StoredTensor>& tensors() const;  // by name
  const StoredTensor* find(const std::string& name) const;  // null when there is none
  // Reads a box of a tensor into dense memory of that tensor's own dtype.
  void read(const std::string& name, const Box& box, void* out) const;
  // Reads the pieces of each tensor, whose dtype and global shape must be as stored.
  void read(std::span<const ShardedTensor> tensors) const;
  // Compares the checksums of the shards part, part + parts, part + 2 parts, ... with their
  // contents; throws Error naming the damaged file and dataset.
  void verify(int part = 0, int parts = 1) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace switchyard
