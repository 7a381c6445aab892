#include <random>
#include <utility>

#include "core/error.h"
#include "core/memory.h"
#include "parallel/checkpoint/checkpoint.h"
#include "parallel/checkpoint/files.h"
#include "parallel/checkpoint/host_copy.h"
#include "parallel/checkpoint/master.h"
#include "parallel/checkpoint/shard.h"
#include "parallel/comm/control_plane.h"

namespace switchyard {

namespace fs = std::filesystem;

std::string random_checkpoint_id() {
  std::random_device source;
  std::string id;
  for (int i = 0; i < 4; ++i) id += fmt::format("{:08x}", source());
  return id;
}

namespace {

struct StagedPiece {
  Box box;
  int64_t begin = 0;  // byte of the staging buffer
};

struct StagedTensor {
  StoredTensor tensor;
  std::vector<std::string> aliases;
  std::vector<StagedPiece> pieces;
};

int64_t bytes_of(const Box& box, DType dtype) { return box.extent.elements() * size_of(dtype); }

int64_t bytes_of(std::span<const ShardedTensor> tensors) {
  int64_t bytes = 0;
  for (const ShardedTensor& tensor : tensors) {
    for (const Piece& piece : tensor.pieces) bytes += bytes_of(piece.box, tensor.dtype);
  }
  return bytes;
}

}  // namespace

struct CheckpointWriter::State {
  fs::path checkpoints;
  ControlPlane& control;
  std::function<void()> may_write;
  CheckpointInfo info{};
  Memory buffer{};  // kept from one save to the next
  std::vector<StagedTensor> tensors{};
  bool ready = false;  // staged and not yet written
  HostCopy host{};     // keeps its buffer, too

  StagedTensor copy(const ShardedTensor& tensor, int64_t& used);
  CheckpointIndex write_shard(const fs::path& folder) const;
  void write_all(const fs::path& folder);
  void agree_on_info();
  bool is_allowed() const;
  void agree(const std::function<void()>& body) const { control.agree(body, "saving"); }
};

// Copies the pieces of a tensor to the buffer, from byte `used` on.
StagedTensor CheckpointWriter::State::copy(const ShardedTensor& tensor, int64_t& used) {
  StagedTensor staged{{tensor.name, tensor.global, tensor.dtype}, tensor.aliases, {}};
  check_tensor(staged.tensor);
  for (const Piece& piece : tensor.pieces) {
    check_box(staged.tensor, piece.box);
    if (piece.box.empty()) continue;
    check(piece.data != nullptr, "checkpoint", "{} has a box of {} without memory", tensor.name,
          piece.box.extent.to_string());
    const int64_t bytes = bytes_of(piece.box, tensor.dtype);
    host.bring(static_cast<char*>(buffer.data()) + used, piece.data, bytes, tensor.device);
    staged.pieces.push_back({piece.box, used});
    used += bytes;
  }
  return staged;
}

// Rank 0's id holds, or a random one; all ranks must mean the same step.
void CheckpointWriter::State::agree_on_info() {
  if (control.rank() == 0 && info.id.empty()) info.id = random_checkpoint_id();
  const auto ids = control.gather(info.id, "ids of the checkpoint");
  const auto steps = control.gather(std::to_string(info.step), "steps to save");
  control.agree([&] {
    for (size_t i = 0; i < ids.size(); ++i) {
      check(steps[i] == steps[0], "checkpoint", "rank {} saves step {} and rank 0 step {}", i,
            steps[i], steps[0]);
      check(ids[i].empty() || ids[i] == ids[0], "checkpoint",
            "rank {} names the checkpoint {} and rank 0 {}; give the same id or none", i, ids[i],
            ids[0]);
    }
  });
  info.id = control.broadcast(info.id, "id of the checkpoint");
}

// This rank's files and what they hold; a rank without elements writes none.
CheckpointIndex CheckpointWriter::State::write_shard(const fs::path& folder) const {
  CheckpointIndex index;
  RankShards shards(folder, control.rank(), info);
  std::vector<size_t> places;
  for (const StagedTensor& staged : tensors) {
    int number = 0;
    for (const StagedPiece& piece : staged.pieces) {
      places.push_back(shards.reserve(staged.tensor, number++, piece.box));
    }
  }
  auto place = places.begin();
  for (const StagedTensor& staged : tensors) {
    IndexedTensor entry{staged.tensor, staged.aliases, {}};
    for (const StagedPiece& piece : staged.pieces) {
      shards.write(*place, static_cast<const char*>(buffer.data()) + piece.begin);
      entry.pieces.push_back(shards.piece(*place++));
    }
    index.tensors.push_back(std::move(entry));
  }
  index.shards = shards.finish();
  return index;
}

// A collective step at a time: the folder, everyone's shard, the master.
void CheckpointWriter::State::write_all(const fs::path& folder) {
  CheckpointIndex own;
  agree([&] { own = write_shard(folder); });
  const auto texts = control.gather(to_json(own), "descriptions of the shards");
  agree([&] {
    if (control.rank() != 0) return;
    std::vector<CheckpointIndex> parts;
    parts.reserve(texts.size());
    for (const std::string& text : texts) parts.push_back(index_from_json(text));
    write_master(folder, info, merge(parts), may_write);
  });
}

// Where it is not, the folder is another writer's.
bool CheckpointWriter::State::is_allowed() const {
  try {
    if (may_write) may_write();
    return true;
  } catch (const Error&) {
    return false;
  }
}

CheckpointWriter::CheckpointWriter(fs::path checkpoints, ControlPlane& control,
                                   std::function<void()> may_write)
    : state_(new State{std::move(checkpoints), control, std::move(may_write)}) {}

CheckpointWriter::~CheckpointWriter() = default;

void CheckpointWriter::stage(CheckpointInfo info, std::span<const ShardedTensor> tensors) {
  State& state = *state_;
  const int64_t bytes = bytes_of(tensors);
  if (state.buffer.bytes() < bytes) {
    state.buffer = Memory();  // first the old one goes, so that both never live at once
    state.buffer = Memory(bytes, Device::cpu, "checkpoint staging");
  }
  state.info = std::move(info);
  state.tensors.clear();
  int64_t used = 0;
  for (const ShardedTensor& tensor : tensors) {
    state.tensors.push_back(state.copy(tensor, used));
  }
  state.ready = true;
}

void CheckpointWriter::commit() {
  State& state = *state_;
  check(state.ready, "checkpoint", "commit was called with nothing staged; call stage before");
  state.ready = false;
  state.agree_on_info();
  const fs::path folder = checkpoint_folder(state.checkpoints, state.info.step);
  const bool leads = state.control.rank() == 0;
  state.agree([&] {
    if (!leads) return;
    if (state.may_write) state.may_write();
    prepare_checkpoint_folder(folder);
  });
  try {
    state.write_all(folder);
  } catch (const Error&) {
    // All ranks have ended writing when they agree on a failure.
    if (leads && state.is_allowed()) discard_incomplete(folder);
    throw;
  }
}

}  // namespace switchyard
