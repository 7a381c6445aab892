#include "parallel/checkpoint/verify.h"

#include <hdf5.h>
#include <xxhash.h>

#include <algorithm>
#include <memory>
#include <span>
#include <vector>

#include "core/error.h"
#include "parallel/checkpoint/hdf5_handles.h"
#include "parallel/checkpoint/read_checks.h"
#include "parallel/checkpoint/read_threads.h"
#include "parallel/checkpoint/seal.h"

namespace switchyard {

namespace fs = std::filesystem;
using hdf5::Id;
using hdf5::require;

namespace {

void check_belongs(const Id& file, const StoredShard& shard, const CheckpointInfo& info) {
  const std::string id = hdf5::read_string_attribute(file, "id");
  const int64_t step = hdf5::read_int_attribute(file, "step");
  const int64_t rank = hdf5::read_int_attribute(file, "rank");
  check(shard.part.empty() || hdf5::read_string_attribute(file, "part") == shard.part, "checkpoint",
        "it holds another part of the rank than its {}", shard.part);
  check(id == info.id && step == info.step && rank == shard.rank, "checkpoint",
        "it belongs to rank {} of step {} of checkpoint {}; rank {} of step {} of checkpoint {} is "
        "expected",
        rank, step, id, shard.rank, info.step, info.id);
}

constexpr int64_t block_bytes = int64_t{1} << 20;

uint64_t checksum_of(const ReadableFile& file, int64_t position, int64_t bytes, char* block) {
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(),
                                                                       XXH3_freeState);
  check(state && XXH3_64bits_reset(state.get()) == XXH_OK, "checkpoint", "no memory for xxh3");
  while (bytes > 0) {
    const int64_t part = std::min(block_bytes, bytes);
    file.read(position, part, block, ReadWay::direct);
    XXH3_64bits_update(state.get(), block, static_cast<size_t>(part));
    position += part;
    bytes -= part;
  }
  return XXH3_64bits_digest(state.get());
}

void check_dataset(const Id& shard, const StoredTensor& tensor, const StoredPiece& piece) {
  const Id dataset = hdf5::open_dataset(shard, piece.dataset);
  const Id type(require(H5Dget_type(dataset), "{} has no type", piece.dataset), H5Tclose);
  check(hdf5::shape_of(dataset, piece.dataset) == piece.box.extent &&
            H5Tequal(type, hdf5::file_type(tensor.dtype)) > 0 &&
            H5Dget_offset(dataset) == static_cast<haddr_t>(piece.address) &&
            hdf5::read_unsigned_attribute(dataset, "xxh3_64") == piece.checksum,
        "checkpoint", "dataset {} has another shape, type, place or checksum than the master says",
        piece.dataset);
}

struct Unread {
  const StoredPiece* piece = nullptr;
  int64_t bytes = 0;
};

// The pieces of the shard, in the order of the file, which has them where the index says.
std::vector<Unread> check_datasets(const fs::path& path, const CheckpointIndex& index, int shard) {
  const hdf5::Session session;
  const Id file = hdf5::open_file(path);
  std::vector<Unread> pieces;
  for (const IndexedTensor& entry : index.tensors) {
    for (const StoredPiece& piece : entry.pieces) {
      if (piece.shard != shard) continue;
      check_dataset(file, entry.tensor, piece);
      pieces.push_back({&piece, piece.box.extent.elements() * size_of(entry.tensor.dtype)});
    }
  }
  std::ranges::sort(pieces, {}, [](const Unread& one) { return one.piece->address; });
  return pieces;
}

// What HDF5 has around the pieces, and between them.
void check_rest(const ReadableFile& file, const StoredShard& shard,
                std::span<const Unread> pieces) {
  if (!shard.rest) return;  // of an older program
  std::vector<FileRange> ranges;
  for (const auto& [piece, bytes] : pieces)
    ranges.push_back({piece->address, piece->address + bytes});
  check(checksum_outside(file, std::move(ranges)) == *shard.rest, "checkpoint",
        "its bytes around the tensors are damaged: they have not the checksum that the master "
        "gives");
}

}  // namespace

fs::path shard_path(const fs::path& folder, const StoredShard& shard) {
  return folder / shards_name / shard_name(shard.rank, shard.part);
}

void check_size(const ReadableFile& file, const StoredShard& shard) {
  const int64_t bytes = file.bytes();
  check(bytes == shard.bytes, "checkpoint", "{} has {} bytes; the checkpoint wrote {}",
        file.path().string(), bytes, shard.bytes);
}

void check_shard(const fs::path& folder, const StoredShard& shard, const CheckpointInfo& info) {
  const fs::path path = shard_path(folder, shard);
  check_size(ReadableFile(path), shard);
  naming(path, [&] {
    const hdf5::Session session;
    check_belongs(hdf5::open_file(path), shard, info);
  });
}

void verify_shard(const fs::path& folder, const CheckpointIndex& index, int shard,
                  const std::function<bool(const StoredPiece&)>& is_checked,
                  const std::function<void(int64_t bytes)>& verified) {
  const StoredShard& stored = index.shards[static_cast<size_t>(shard)];
  const fs::path path = shard_path(folder, stored);
  const ReadableFile bytes(path);
  check_size(bytes, stored);
  naming(path, [&] {
    std::vector<Unread> pieces = check_datasets(path, index, shard);
    check_rest(bytes, stored, pieces);
    if (is_checked)
      std::erase_if(pieces, [&](const Unread& one) { return is_checked(*one.piece); });
    int64_t all = 0;
    for (const Unread& one : pieces) all += one.bytes;
    const auto make_worker = [&]() -> ReadWorker {
      return
          [&, block = std::vector<char>(block_bytes)](size_t job, const TellBytes& tell) mutable {
            const auto& [piece, size] = pieces[job];
            check_checksum(*piece, checksum_of(bytes, piece->address, size, block.data()));
            tell(size);
          };
    };
    read_on_threads(pieces.size(), all, make_worker, verified);
  });
}

}  // namespace switchyard
