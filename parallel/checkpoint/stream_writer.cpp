#include <algorithm>
#include <cstring>
#include <utility>

#include "core/error.h"
#include "core/memory.h"
#include "parallel/checkpoint/checkpoint.h"
#include "parallel/checkpoint/files.h"
#include "parallel/checkpoint/master.h"
#include "parallel/checkpoint/shard.h"

namespace switchyard {

struct CheckpointStreamWriter::State {
  std::filesystem::path folder;
  CheckpointInfo info;
  int64_t part_bytes = 0;
  std::unique_ptr<RankShards> shards;
  CheckpointIndex index;
  Memory buffer;
  bool finished = false;

  void add(const StoredTensor& tensor, std::vector<std::string> aliases, const PieceSource& source);
};

void CheckpointStreamWriter::State::add(const StoredTensor& tensor,
                                        std::vector<std::string> aliases,
                                        const PieceSource& source) {
  check(!finished, "checkpoint", "{} was added after finish()", tensor.name);
  check_tensor(tensor);
  IndexedTensor entry{tensor, std::move(aliases), {}};
  const Box whole = Box::whole(tensor.shape);
  if (!whole.empty()) {
    entry.pieces.push_back(shards->add(tensor, 0, whole, source, part_bytes));
  }
  index.tensors.push_back(std::move(entry));
}

CheckpointStreamWriter::CheckpointStreamWriter(const std::filesystem::path& checkpoints,
                                               CheckpointInfo info, int64_t part_bytes)
    : state_(new State{checkpoint_folder(checkpoints, info.step),
                       std::move(info),
                       part_bytes,
                       nullptr,
                       {},
                       {},
                       false}) {
  if (state_->info.id.empty()) state_->info.id = random_checkpoint_id();
  prepare_checkpoint_folder(state_->folder);
  state_->shards = std::make_unique<RankShards>(state_->folder, 0, state_->info);
}

CheckpointStreamWriter::~CheckpointStreamWriter() {
  if (!state_ || state_->finished) return;
  state_->shards.reset();
  discard_incomplete(state_->folder);
}

void CheckpointStreamWriter::add(const StoredTensor& tensor, const void* data,
                                 std::vector<std::string> aliases) {
  const int64_t row_bytes =
      tensor.shape.elements() / std::max<int64_t>(1, tensor.shape[0]) * size_of(tensor.dtype);
  state_->add(tensor, std::move(aliases), [=](const Box& part) {
    return static_cast<const char*>(data) + part.offset[0] * row_bytes;
  });
}

void CheckpointStreamWriter::add(const StoredTensor& tensor, const Fill& fill,
                                 std::vector<std::string> aliases) {
  State& state = *state_;
  state.add(tensor, std::move(aliases), [&](const Box& part) {
    const int64_t bytes = part.extent.elements() * size_of(tensor.dtype);
    if (state.buffer.bytes() < bytes) {
      state.buffer = Memory();
      state.buffer = Memory(bytes, Device::cpu, "checkpoint part");
    }
    fill(part, state.buffer.data());
    return state.buffer.data();
  });
}

void CheckpointStreamWriter::set_document(const std::string& name, std::string text) {
  state_->info.documents[name] = std::move(text);
}

void CheckpointStreamWriter::finish() {
  State& state = *state_;
  check(!state.finished, "checkpoint", "finish() was called twice for {}", state.folder.string());
  state.index.shards = state.shards->finish();
  state.index = merge({std::move(state.index)});  // in the order of names
  write_master(state.folder, state.info, state.index);
  state.finished = true;
}

}  // namespace switchyard
