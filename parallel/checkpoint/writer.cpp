#include <atomic>
#include <mutex>
#include <random>
#include <utility>

#include "core/error.h"
#include "core/logging.h"
#include "core/memory.h"
#include "parallel/checkpoint/checkpoint.h"
#include "parallel/checkpoint/files.h"
#include "parallel/checkpoint/guest_files.h"
#include "parallel/checkpoint/host_copy.h"
#include "parallel/checkpoint/master.h"
#include "parallel/checkpoint/shard.h"
#include "parallel/checkpoint/shared_files.h"
#include "parallel/checkpoint/staging.h"
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

// The elements of a piece that lies on a device, by parts that pass through host memory.
PieceSource source_of(const StagedPiece& piece, DType dtype, HostCopy& host, Memory& part_buffer) {
  const int64_t row = piece.bytes / piece.box.extent[0];
  return [&piece, &host, &part_buffer, dtype, row](const Box& part) -> const void* {
    const int64_t bytes = part.extent.elements() * size_of(dtype);
    if (part_buffer.bytes() < bytes) part_buffer = Memory(bytes, Device::cpu, "checkpoint part");
    const auto* from =
        static_cast<const char*>(piece.data) + (part.offset[0] - piece.box.offset[0]) * row;
    host.bring(part_buffer.data(), from, bytes, piece.device);
    return part_buffer.data();
  };
}

}  // namespace

struct CheckpointWriter::State {
  fs::path checkpoints;
  ControlPlane& control;
  std::function<void()> may_write;
  ControlPlane* sharing = nullptr;
  CheckpointInfo info{};
  Staging staging{};          // keeps its buffer from one save to the next
  bool ready = false;         // staged and not yet written
  bool makes_folder = false;  // this rank, rank 0, has begun to
  fs::path folder{};          // where `shards` are; the step's
  HostCopy host{};            // and this one, for pieces on a device that are not copied
  Memory part_buffer{};
  std::unique_ptr<RankShards> shards{};  // from begin() on; or
  std::unique_ptr<GuestFiles> guest{};   // where another rank's files take this one's pieces
  std::vector<CheckpointIndex> lists{};  // what this rank's files take, its own pieces first
  bool described = false;                // HDF5 has written all of its own before the pieces' bytes
  std::atomic<bool> failed = false;

  bool has_begun() const { return shards || guest; }
  void end();
  CheckpointIndex list_pieces();
  void take(std::span<const ShardedTensor> tensors, int64_t limit);
  void begin();
  void make_files();
  void reserve();
  void write(bool copied);
  void finish();
  void write_copied();
  CheckpointIndex describe(const std::vector<std::string>& sums);
  fs::path prepare_master(const std::vector<std::string>& texts) const;
  void agree_on_info();
  bool is_allowed() const;
  void guard(const std::function<void()>& body);
  void agree(const std::function<void()>& body);
};

// Less is free than was thought, or may be locked, where there is no room.
void CheckpointWriter::State::take(std::span<const ShardedTensor> tensors, int64_t limit) {
  try {
    staging.take(tensors, limit);
  } catch (const Error& problem) {
    staging.take(tensors, 0);
    log::warning("{}; step {} is written before training goes on", problem.what(), info.step);
  }
}

// The others may take long until they come here.
void CheckpointWriter::State::agree(const std::function<void()>& body) {
  const auto noting_failure = [&] {
    try {
      body();
    } catch (...) {
      failed = true;
      throw;
    }
  };
  control.agree(noting_failure, "saving");
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

void CheckpointWriter::State::end() {
  shards.reset();
  guest.reset();
  lists.clear();
  described = false;
}

// The folder, empty, and in it files with a place for each piece.
void CheckpointWriter::State::begin() {
  makes_folder = false;
  agree_on_info();
  folder = checkpoint_folder(checkpoints, info.step);
  agree([&] {
    if (control.rank() != 0) return;
    if (may_write) may_write();
    makes_folder = true;
    prepare_checkpoint_folder(folder);
  });
  reserve();
}

// Its own pieces count as they are listed here, also in the files.
CheckpointIndex CheckpointWriter::State::list_pieces() {
  CheckpointIndex list;
  size_t count = 0;
  for (StagedTensor& staged : staging.tensors()) {
    IndexedTensor entry{staged.tensor, staged.aliases, {}};
    for (StagedPiece& piece : staged.pieces) {
      piece.place = count++;
      entry.pieces.push_back({.dataset = {}, .box = piece.box, .checksum = piece.checksum});
    }
    list.tensors.push_back(std::move(entry));
  }
  return list;
}

// Ranks that are threads have one HDF5, whose lock costs them much: each makes its files at once,
// and the disk has the pieces of the first one while the next does so.
void CheckpointWriter::State::make_files() {
  static std::mutex one_rank;
  const std::lock_guard lock(one_rank);
  shards = std::make_unique<RankShards>(folder, control.rank(), info);
  reserve_for_all(*shards, lists);
  described = are_summed(lists);
  if (sharing != nullptr || described) shards->take_room();
  if (described) shards->describe();
}

// And begins to write what is described.
void CheckpointWriter::State::reserve() {
  const bool is_guest = sharing != nullptr && sharing->rank() > 0;
  lists = {list_pieces()};
  std::vector<std::string> texts;
  if (sharing != nullptr) texts = sharing->gather(to_json(lists[0]), "pieces for shared files");
  std::string places;
  agree([&] {
    if (is_guest) return;
    for (size_t i = 1; i < texts.size(); ++i) lists.push_back(index_from_json(texts[i]));
    make_files();
    if (described) write(true);
    if (sharing == nullptr) return;
    places = places_to_text(*shards, lists);
  });
  if (sharing == nullptr) return;
  places = sharing->broadcast(places, "places in shared files");
  agree([&] {
    if (!is_guest) return;
    take_places(places, static_cast<size_t>(sharing->rank()), lists[0]);
    described = are_summed(lists);
    guest = std::make_unique<GuestFiles>(folder, lists[0]);
    if (described) write(true);
  });
}

void CheckpointWriter::State::write(bool copied) {
  constexpr int64_t device_part = int64_t{64} << 20;
  PieceFiles& files = guest ? static_cast<PieceFiles&>(*guest) : *shards;
  for (StagedTensor& staged : staging.tensors()) {
    for (const StagedPiece& piece : staged.pieces) {
      if (piece.copied != copied) continue;
      if (piece.copied) {
        files.write_staying(piece.place, piece.data);
      } else if (piece.device == Device::cpu) {
        files.write(piece.place, piece.data);
      } else {
        files.write(piece.place, source_of(piece, staged.tensor.dtype, host, part_buffer),
                    device_part);
      }
    }
  }
}

// What HDF5 writes beside the bytes of its pieces would make the disk wait.
void CheckpointWriter::State::write_copied() {
  if (described) return;
  write(true);
  if (guest) guest->wait();
  if (shards) shards->wait();
}

// Of this rank's files, and all pieces in them; a guest's are listed by the files' owner.
CheckpointIndex CheckpointWriter::State::describe(const std::vector<std::string>& sums) {
  if (guest) return {};
  note_checksums(*shards, lists, sums);
  CheckpointIndex own = merge(lists);
  own.shards = shards->describe();
  return own;
}

// A disk that is full for the pieces, which came first, may be so for the master, too.
fs::path CheckpointWriter::State::prepare_master(const std::vector<std::string>& texts) const {
  std::vector<CheckpointIndex> parts;
  parts.reserve(texts.size());
  for (const std::string& text : texts) parts.push_back(index_from_json(text));
  try {
    return switchyard::prepare_master(folder, info, merge(parts));
  } catch (const Error&) {
    if (shards) shards->wait();
    throw;
  }
}

// The master maps the files of all, and is made while the disk still takes their bytes.
void CheckpointWriter::State::finish() {
  CheckpointIndex own;
  agree([&] {
    write_copied();
    if (sharing == nullptr) own = describe({});
  });
  if (sharing != nullptr) {
    const auto sums = sharing->gather(guest ? checksums_to_text(*guest) : std::string(),
                                      "checksums of shared files");
    agree([&] { own = describe(sums); });
  }
  const auto texts = control.gather(to_json(own), "descriptions of the shards");
  fs::path master;
  agree([&] {
    if (control.rank() == 0) master = prepare_master(texts);
    if (guest) guest->finish();
    if (sharing == nullptr) shards->finish();
  });
  if (sharing != nullptr) {
    agree([&] {
      if (shards) shards->finish();
    });
  }
  agree([&] {
    if (control.rank() == 0) publish_master(folder, master, may_write);
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

// What has failed leaves nothing. All ranks have ended writing when they agree on a failure.
void CheckpointWriter::State::guard(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error&) {
    ready = false;
    end();
    if (makes_folder && is_allowed()) discard_incomplete(folder);
    throw;
  }
}

CheckpointWriter::CheckpointWriter(fs::path checkpoints, ControlPlane& control,
                                   std::function<void()> may_write, ControlPlane* sharing)
    : state_(new State{std::move(checkpoints), control, std::move(may_write), sharing}) {}

CheckpointWriter::~CheckpointWriter() = default;

void CheckpointWriter::reserve(std::span<const ShardedTensor> tensors, int64_t limit) {
  check(!state_->ready, "checkpoint", "reserve was called while a save was staged");
  try {
    state_->staging.reserve(tensors, limit);
  } catch (const Error&) {  // stage() tries again, and says what comes of it
  }
}

bool CheckpointWriter::failed() const { return state_->failed; }

int64_t CheckpointWriter::stage(CheckpointInfo info, std::span<const ShardedTensor> tensors,
                                int64_t limit) {
  State& state = *state_;
  state.end();
  state.failed = false;
  state.info = std::move(info);
  state.take(tensors, limit);
  state.ready = true;
  return state.staging.uncopied();
}

void CheckpointWriter::write_uncopied() {
  State& state = *state_;
  check(state.ready && !state.has_begun(), "checkpoint",
        "write_uncopied was called with nothing staged; call stage before");
  state.guard([&] {
    state.begin();
    state.agree([&] { state.write(false); });
  });
}

void CheckpointWriter::commit() {
  State& state = *state_;
  check(state.ready, "checkpoint", "commit was called with nothing staged; call stage before");
  check(state.has_begun() || state.staging.uncopied() == 0, "checkpoint",
        "commit was called while {} bytes were not staged; call write_uncopied before",
        state.staging.uncopied());
  state.guard([&] {
    if (!state.has_begun()) state.begin();
    state.finish();
  });
  state.ready = false;
  state.end();
}

}  // namespace switchyard
