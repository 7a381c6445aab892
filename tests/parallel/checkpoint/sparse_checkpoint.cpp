#include "tests/parallel/checkpoint/sparse_checkpoint.h"

#include <hdf5.h>
#include <xxhash.h>

#include "parallel/checkpoint/files.h"
#include "parallel/checkpoint/hdf5_handles.h"
#include "parallel/checkpoint/master.h"

namespace switchyard::test {

namespace fs = std::filesystem;
using hdf5::Id;
using hdf5::require;

namespace {

constexpr int64_t columns = 256;

Id sparse_creation() {
  Id creation = hdf5::untimed(H5P_DATASET_CREATE);
  require(H5Pset_alloc_time(creation, H5D_ALLOC_TIME_EARLY), "no early places");
  require(H5Pset_fill_time(creation, H5D_FILL_TIME_NEVER), "fill values");
  return creation;
}

void write_piece(const Id& file, const Id& creation, const StoredTensor& tensor,
                 StoredPiece& piece) {
  Id dataset = hdf5::create_dataset(file, piece.dataset, hdf5::file_type(tensor.dtype),
                                    hdf5::dataspace(piece.box.extent), creation);
  hdf5::write_attribute(dataset, "global_shape", tensor.shape);
  hdf5::write_attribute(dataset, "offset", piece.box.offset);
  hdf5::write_attribute(dataset, "xxh3_64", piece.checksum);
  piece.address = static_cast<int64_t>(H5Dget_offset(dataset));
  dataset.close(piece.dataset);
}

struct PieceOfShard {
  size_t tensor = 0, piece = 0;
};

StoredShard write_shard(const fs::path& folder, int shard, const CheckpointInfo& info,
                        CheckpointIndex& index, const std::vector<PieceOfShard>& pieces) {
  const hdf5::Session session;
  const fs::path path = folder / shards_name / shard_name(shard, "");
  Id file = hdf5::create_file(path);
  hdf5::write_attribute(file, "format_version", int64_t{info.format_version});
  hdf5::write_attribute(file, "id", info.id);
  hdf5::write_attribute(file, "step", info.step);
  hdf5::write_attribute(file, "rank", int64_t{shard});
  const Id creation = sparse_creation();
  for (const auto [tensor, piece] : pieces) {
    IndexedTensor& entry = index.tensors[tensor];
    write_piece(file, creation, entry.tensor, entry.pieces[piece]);
  }
  file.close(path.string());
  return {shard, static_cast<int64_t>(fs::file_size(path))};
}

}  // namespace

IndexedTensor sparse_tensor(const SparseSize& size, int64_t number) {
  const bool by_columns = number % 3 == 2;
  const int64_t rows = size.piece_elements / columns;
  const Shape whole =
      by_columns ? Shape{rows, columns * size.cuts} : Shape{rows * size.cuts, columns};
  // Names in the order of the numbers, as an index has them.
  IndexedTensor entry{{fmt::format("/model/layers.{:06}.block.{}.weight", number / 10, number % 10),
                       whole, DType::f32},
                      {},
                      {}};
  const int axis = by_columns ? 1 : 0;
  for (int cut = 0; cut < size.cuts; ++cut) {
    Box box{whole, {rows, columns}};
    for (int i = 0; i < 2; ++i) box.offset[i] = i == axis ? cut * box.extent[i] : 0;
    const auto shard = static_cast<int>((number * size.cuts + cut) % size.shards);
    entry.pieces.push_back({shard, entry.tensor.name, box});
  }
  return entry;
}

fs::path write_sparse_checkpoint(const fs::path& checkpoints, const SparseSize& size) {
  check(size.cuts <= size.shards && size.piece_elements % columns == 0, "test",
        "{} cuts of {} elements on {} shards", size.cuts, size.piece_elements, size.shards);
  CheckpointInfo info;
  info.step = 1;
  info.id = random_checkpoint_id();
  const fs::path folder = checkpoint_folder(checkpoints, 1);
  prepare_checkpoint_folder(folder);
  const std::vector<float> zeros(static_cast<size_t>(size.piece_elements));
  const uint64_t checksum = XXH3_64bits(zeros.data(), zeros.size() * sizeof(float));
  CheckpointIndex index;
  std::vector<std::vector<PieceOfShard>> of_shard(static_cast<size_t>(size.shards));
  for (size_t i = 0; i < static_cast<size_t>(size.tensors); ++i) {
    index.tensors.push_back(sparse_tensor(size, static_cast<int64_t>(i)));
    auto& pieces = index.tensors.back().pieces;
    for (size_t piece = 0; piece < pieces.size(); ++piece) {
      pieces[piece].checksum = checksum;
      of_shard[static_cast<size_t>(pieces[piece].shard)].push_back({i, piece});
    }
  }
  for (int shard = 0; shard < size.shards; ++shard) {
    index.shards.push_back(
        write_shard(folder, shard, info, index, of_shard[static_cast<size_t>(shard)]));
  }
  write_master(folder, info, index);
  return folder;
}

}  // namespace switchyard::test
