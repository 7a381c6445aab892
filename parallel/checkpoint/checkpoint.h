#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/sharded_tensor.h"
#include "parallel/comm/control_plane.h"

namespace switchyard {

struct CheckpointIndex;
class ReadChecks;

inline constexpr int compressed_version = 3;  // of the format, where pieces are compressed

// What a checkpoint says of itself, besides its tensors.
struct CheckpointInfo {
  int format_version = 2;
  std::string id;  // random, 32 hexadecimal digits; also in every shard. Chosen while
                   // saving when it is empty; else the same on every rank
  int64_t step = 0;
  int64_t samples = 0;  // consumed: the data position
  double loss = 0;      // of that step's global batch; NaN: none (an average)
  // JSON texts, stored as string datasets: "specification", "lineage", "model", ... Rank 0's count.
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

// Removes a checkpoint of either kind, its master first: a kill on the way leaves an incomplete
// one. An absent folder is no error; one that is not named as checkpoint_folder names them is.
void remove_checkpoint(const std::filesystem::path& folder);

std::string random_checkpoint_id();
std::string hdf5_version();  // of the library that is loaded: "1.10.8"

struct StoredTensor {
  std::string name;
  Shape shape;
  DType dtype = DType::f32;
};

// Writes a checkpoint in two calls: stage() copies what is to be written to host memory and takes
// no part in any collective (device memory must be at rest: no work queued that writes it);
// commit() writes it and is collective over `control`; it may run in a thread of its own while the
// tensors change. Each rank writes its pieces into shards/, rank 0 then the master checkpoint.h5
// with a virtual dataset for every tensor; the folder counts as complete from the rename of the
// master on. An incomplete folder of the same step is removed first; a complete one is never
// touched (Error). Any rank's failure (disk full, ...) is agreed on, and leaves no complete
// checkpoint. `may_write` is called on rank 0 before the folder is made and right before the
// rename: its Error is that of the save. `sharing` joins ranks of one node (each of them is in one
// such group, or none is in any) whose pieces all go into the files of the first of them.
class CheckpointWriter {
 public:
  CheckpointWriter(std::filesystem::path checkpoints, ControlPlane& control,
                   std::function<void()> may_write = {}, ControlPlane* sharing = nullptr);
  ~CheckpointWriter();
  // Takes the memory that stage() needs for such tensors, so that the first save waits no longer
  // than others. Of this rank alone.
  void reserve(std::span<const ShardedTensor> tensors, int64_t limit);
  // Returns the bytes that `limit` left no room for: where any rank has such, write_uncopied()
  // comes before the tensors change.
  int64_t stage(CheckpointInfo info, std::span<const ShardedTensor> tensors,
                int64_t limit = std::numeric_limits<int64_t>::max());
  void write_uncopied();  // collective
  void commit();
  // What was staged last has failed on this rank, which the others learn when they have written,
  // too. Any thread may ask.
  bool failed() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Writes a checkpoint from one process, tensor by tensor, never holding more than a part of one.
// Without finish() nothing is left of it. A complete checkpoint of that step is an Error.
class CheckpointStreamWriter {
 public:
  // Gives the elements of a part of the tensor (whole but for axis 0), row-major.
  using Fill = std::function<void(const Box& part, void* out)>;

  // Parts have at most part_bytes, or are a single row.
  CheckpointStreamWriter(const std::filesystem::path& checkpoints, CheckpointInfo info,
                         int64_t part_bytes = int64_t{64} << 20);
  ~CheckpointStreamWriter();
  void add(const StoredTensor& tensor, const void* data, std::vector<std::string> aliases = {});
  void add(const StoredTensor& tensor, const Fill& fill, std::vector<std::string> aliases = {});
  // In place of one that the info had, or beside them.
  void set_document(const std::string& name, std::string text);
  void finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

enum class ReadAs : uint8_t { stored, f32 };

// Reads a complete checkpoint. Opening checks that every shard is there, belongs to it and has the
// extents that the master maps; nothing missing is ever read as a fill value. Errors name the file.
// However many readers a process has, they share a bounded number of open files. Where many ranks
// open one, each checks the shards part, part + parts, ..., and all agree before any reads.
class CheckpointReader {
 public:
  explicit CheckpointReader(const std::filesystem::path& folder, int part = 0, int parts = 1);
  ~CheckpointReader();
  CheckpointReader(CheckpointReader&&) noexcept;

  const CheckpointInfo& info() const;
  const std::vector<StoredTensor>& tensors() const;         // by name
  const StoredTensor* find(const std::string& name) const;  // null when there is none
  // Reads a box of a tensor into dense memory of that tensor's own dtype. Reads may run in several
  // threads at once.
  void read(const std::string& name, const Box& box, void* out, ReadChecks* checks = nullptr) const;
  const CheckpointIndex& index() const;
  // Compares the checksums of the shards part, part + parts, part + 2 parts, ... with their
  // contents, and for part 0 the master's virtual datasets with the shards; throws Error naming the
  // damaged file and dataset.
  // `verified` hears of the bytes of each piece that was read.
  void verify(int part = 0, int parts = 1,
              const std::function<void(int64_t bytes)>& verified = {}) const;
  // Reads the pieces of each tensor, whose dtype and global shape must be as stored, into host or
  // device memory, which must be at rest; for ReadAs::f32 the tensors are of f32 and stored in f32,
  // bf16 or f16, which loses nothing. Compares on the way the checksums of pieces read whole and in
  // order, and of some that ranks share, with bytes that others want; throws as verify() does.
  // Returns 1 for these and 0 for others, in the order of the index. `progress` hears of bytes.
  // Collective over `node` where it is given: ranks of one machine, which read what they share of
  // this checkpoint once, through memory that they have in common. The bits are the same without.
  std::vector<int32_t> read_and_check(std::span<const ShardedTensor> tensors,
                                      const std::function<void(int64_t bytes)>& progress = {},
                                      ReadAs as = ReadAs::stored,
                                      ControlPlane* node = nullptr) const;
  // verify() without reading again the pieces that are 1 (the largest over the ranks' results).
  void verify_rest(std::span<const int32_t> checked, int part = 0, int parts = 1,
                   const std::function<void(int64_t bytes)>& verified = {}) const;
  int64_t bytes() const;  // of all shards

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace switchyard
