#include "parallel/checkpoint/verify.h"

#include <hdf5.h>
#include <xxhash.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <vector>

#include "core/error.h"
#include "parallel/checkpoint/compressed.h"
#include "parallel/checkpoint/file_view.h"
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

// What a thread reads, whole pages past the system's cache, and its checksums.
class Summed {
 public:
  // More than this is read in parts.
  static constexpr int64_t most_at_once = FileView::most_bytes;

  // Bytes of the file, until the next call.
  const std::byte* read(const ReadableFile& file, int64_t begin, int64_t end) {
    return view_.at(file, begin, end, ReadWay::direct);
  }
  uint64_t checksum_of(const ReadableFile& file, int64_t begin, int64_t end) {
    begin_sum();
    while (begin < end) {
      const int64_t part_end = std::min(end, begin + most_at_once);
      XXH3_64bits_update(state_.get(), read(file, begin, part_end),
                         static_cast<size_t>(part_end - begin));
      begin = part_end;
    }
    return XXH3_64bits_digest(state_.get());
  }
  uint64_t checksum_of(const ReadableFile& file, const StoredTensor& tensor,
                       const StoredPiece& piece) {
    begin_sum();
    const Box& box = piece.box;
    const int64_t row = box.extent.elements() / box.extent[0] * size_of(tensor.dtype);
    const int64_t rows = std::max<int64_t>(1, 4 * HugePage::bytes / row);
    for (int64_t begin = 0; begin < box.extent[0]; begin += rows) {
      Box part = box;
      part.offset[0] += begin;
      part.extent[0] = std::min(rows, box.extent[0] - begin);
      uncompressed_.resize(static_cast<size_t>(part.extent[0] * row));
      read_compressed(file.path(), tensor, piece, part, uncompressed_.data());
      XXH3_64bits_update(state_.get(), uncompressed_.data(), uncompressed_.size());
    }
    return XXH3_64bits_digest(state_.get());
  }

 private:
  void begin_sum() {
    check(state_ && XXH3_64bits_reset(state_.get()) == XXH_OK, "checkpoint", "no memory for xxh3");
  }

  FileView view_;
  std::vector<char> uncompressed_;
  std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state_{XXH3_createState(),
                                                                  XXH3_freeState};
};

bool is_placed(const Id& dataset, const StoredPiece& piece) {
  if (piece.compressed) return is_compressed(dataset);
  return H5Dget_offset(dataset) == static_cast<haddr_t>(piece.address);
}

void check_dataset(const Id& shard, const StoredTensor& tensor, const StoredPiece& piece) {
  const Id dataset = hdf5::open_dataset(shard, piece.dataset);
  const Id type(require(H5Dget_type(dataset), "{} has no type", piece.dataset), H5Tclose);
  check(hdf5::shape_of(dataset, piece.dataset) == piece.box.extent &&
            H5Tequal(type, hdf5::file_type(tensor.dtype)) > 0 && is_placed(dataset, piece) &&
            hdf5::read_unsigned_attribute(dataset, "xxh3_64") == piece.checksum,
        "checkpoint", "dataset {} has another shape, type, place or checksum than the master says",
        piece.dataset);
}

int64_t bytes_of(const IndexedTensor& entry, const StoredPiece& piece) {
  return piece.box.extent.elements() * size_of(entry.tensor.dtype);
}

void check_datasets(const fs::path& path, const PiecesOfShard& pieces) {
  const hdf5::Session session;
  const Id file = hdf5::open_file(path);
  for (const auto& [entry, piece] : pieces) check_dataset(file, entry->tensor, *piece);
}

int64_t end_of(const IndexedTensor& entry, const StoredPiece& piece) {
  return piece.address + bytes_of(entry, piece);
}

// What is left to be read, in parts for threads: neighbours that are read at once.
struct Unread {
  std::vector<PiecesOfShard> jobs;
  int64_t bytes = 0;

  Unread(const PiecesOfShard& pieces, const std::function<bool(const StoredPiece&)>& is_checked) {
    int64_t begin = std::numeric_limits<int64_t>::min() / 2;
    for (const auto& [entry, piece] : pieces) {
      if (is_checked && is_checked(*piece)) continue;
      if (piece->compressed || end_of(*entry, *piece) - begin > Summed::most_at_once) {
        jobs.emplace_back();
        begin = piece->address;
      }
      jobs.back().emplace_back(entry, piece);
      bytes += bytes_of(*entry, *piece);
    }
  }
};

void check_sums(const ReadableFile& file, const PiecesOfShard& neighbours, Summed& summed) {
  const auto& [first_entry, first] = neighbours.front();
  const auto& [last_entry, last] = neighbours.back();
  if (first->compressed) {
    return check_checksum(*first, summed.checksum_of(file, first_entry->tensor, *first));
  }
  const int64_t begin = first->address, end = end_of(*last_entry, *last);
  if (neighbours.size() == 1) return check_checksum(*first, summed.checksum_of(file, begin, end));
  const std::byte* bytes = summed.read(file, begin, end);
  for (const auto& [entry, piece] : neighbours) {
    const auto size = static_cast<size_t>(bytes_of(*entry, *piece));
    check_checksum(*piece, XXH3_64bits(bytes + (piece->address - begin), size));
  }
}

// Whether what HDF5 has around the pieces, compressed ones among it, has its checksum.
bool is_rest_right(const ReadableFile& file, const StoredShard& shard,
                   const PiecesOfShard& pieces) {
  if (!shard.rest) return true;  // of an older program
  std::vector<FileRange> ranges;
  for (const auto& [entry, piece] : pieces)
    if (!piece->compressed) ranges.push_back({piece->address, end_of(*entry, *piece)});
  return checksum_outside(file, std::move(ranges)) == *shard.rest;
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

std::vector<PiecesOfShard> pieces_by_shard(const CheckpointIndex& index) {
  std::vector<PiecesOfShard> all(index.shards.size());
  for (const IndexedTensor& entry : index.tensors)
    for (const StoredPiece& piece : entry.pieces)
      all[static_cast<size_t>(piece.shard)].emplace_back(&entry, &piece);
  for (PiecesOfShard& pieces : all)
    std::ranges::sort(pieces, {}, [](const auto& one) { return one.second->address; });
  return all;
}

void verify_shard(const fs::path& folder, const StoredShard& shard, const PiecesOfShard& pieces,
                  const std::function<bool(const StoredPiece&)>& is_checked,
                  const std::function<void(int64_t bytes)>& verified) {
  const fs::path path = shard_path(folder, shard);
  const ReadableFile file(path);
  check_size(file, shard);
  naming(path, [&] {
    // Before HDF5, which would ask the disk for each dataset while other threads wait for it.
    const bool right = is_rest_right(file, shard, pieces);
    check_datasets(path, pieces);
    const Unread unread(pieces, is_checked);
    const auto make_worker = [&]() -> ReadWorker {
      return [&, summed = std::make_shared<Summed>()](size_t job, const TellBytes& tell) {
        check_sums(file, unread.jobs[job], *summed);
        for (const auto& [entry, piece] : unread.jobs[job]) tell(bytes_of(*entry, *piece));
      };
    };
    read_on_threads(unread.jobs.size(), unread.bytes, make_worker, verified);
    check(right, "checkpoint",
          "its bytes around the tensors are damaged: they have not the checksum that the master "
          "gives");
  });
}

}  // namespace switchyard
