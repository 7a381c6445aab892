#include "parallel/checkpoint/compressed.h"

#include <hdf5.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include "core/error.h"
#include "parallel/checkpoint/seal.h"

namespace switchyard {

namespace {

using hdf5::Id;
using hdf5::require;

// Several fit into HDF5's cache of a dataset, 1 MiB.
constexpr int64_t chunk_bytes = int64_t{256} << 10;
// More takes several times as long and makes weights and moments hardly smaller.
constexpr int deflate_level = 1;

// The box within a larger one that begins at `origin`.
Id selected(const Shape& whole, const Shape& origin, const Box& box) {
  Id space = hdf5::dataspace(whole);
  std::array<hsize_t, Shape::max_rank> start{}, count{};
  for (int i = 0; i < whole.rank(); ++i) {
    start[static_cast<size_t>(i)] = static_cast<hsize_t>(box.offset[i] - origin[i]);
    count[static_cast<size_t>(i)] = static_cast<hsize_t>(box.extent[i]);
  }
  require(H5Sselect_hyperslab(space, H5S_SELECT_SET, start.data(), nullptr, count.data(), nullptr),
          "HDF5 refuses the box {} at {}", box.extent.to_string(), box.offset.to_string());
  return space;
}

int64_t row_bytes(const Shape& extent, DType dtype) {
  return extent.elements() / extent[0] * size_of(dtype);
}

// Whether rows of both are the same elements.
bool same_rows(const Box& a, const Box& b) {
  for (int i = 1; i < a.extent.rank(); ++i)
    if (a.offset[i] != b.offset[i] || a.extent[i] != b.extent[i]) return false;
  return true;
}

Id chunked_creation(const StoredTensor& tensor, const Box& box) {
  Id creation = hdf5::untimed(H5P_DATASET_CREATE);
  std::array<hsize_t, Shape::max_rank> chunk{};
  for (int i = 0; i < box.extent.rank(); ++i)
    chunk[static_cast<size_t>(i)] = static_cast<hsize_t>(box.extent[i]);
  const int64_t rows = chunk_bytes / row_bytes(box.extent, tensor.dtype);
  chunk[0] = static_cast<hsize_t>(std::clamp<int64_t>(rows, 1, box.extent[0]));
  require(H5Pset_chunk(creation, box.extent.rank(), chunk.data()), "HDF5 refuses chunks of {}",
          tensor.name);
  require(H5Pset_shuffle(creation), "HDF5 has no shuffle filter");
  require(H5Pset_deflate(creation, deflate_level), "HDF5 has no deflate filter");
  return creation;
}

}  // namespace

int64_t read_compressed(const std::filesystem::path& path, const StoredTensor& tensor,
                        const StoredPiece& piece, const Box& wanted, void* out, const Seen& seen) {
  const Box common = intersection(piece.box, wanted);
  if (common.empty()) return 0;
  {
    const hdf5::Session session;
    const Id file = hdf5::open_file(path);
    const Id dataset = hdf5::open_dataset(file, piece.dataset);
    check(hdf5::shape_of(dataset, piece.dataset) == piece.box.extent, "checkpoint",
          "dataset {} has another shape than the master says", piece.dataset);
    require(H5Dread(dataset, hdf5::file_type(tensor.dtype),
                    selected(wanted.extent, wanted.offset, common),
                    selected(piece.box.extent, piece.box.offset, common), H5P_DEFAULT, out),
            "dataset {} is damaged, or cannot be read", piece.dataset);
  }
  if (seen && same_rows(common, piece.box) && same_rows(common, wanted)) {
    const int64_t row = row_bytes(common.extent, tensor.dtype);
    seen((common.offset[0] - piece.box.offset[0]) * row,
         static_cast<const char*>(out) + (common.offset[0] - wanted.offset[0]) * row,
         common.extent[0] * row);
  }
  return common.extent.elements();
}

bool is_compressed(const Id& dataset) {
  const Id creation(require(H5Dget_create_plist(dataset), "a dataset has no layout"), H5Pclose);
  return H5Pget_layout(creation) == H5D_CHUNKED && H5Pget_nfilters(creation) > 0;
}

CompressedShard::CompressedShard(const std::filesystem::path& folder, int rank,
                                 const CheckpointInfo& info, std::string part)
    : final_name_(folder / shards_name / shard_name(rank, part)),
      temporary_(temporary_of(final_name_)),
      rank_(rank),
      part_(std::move(part)) {
  const hdf5::Session session;
  file_ = hdf5::create_file(temporary_);
  hdf5::write_attribute(file_, "format_version", int64_t{info.format_version});
  hdf5::write_attribute(file_, "id", info.id);
  hdf5::write_attribute(file_, "step", info.step);
  hdf5::write_attribute(file_, "rank", int64_t{rank});
  if (!part_.empty()) hdf5::write_attribute(file_, "part", part_);
}

CompressedShard::~CompressedShard() {
  const hdf5::Session session;
  dataset_ = Id();
  file_ = Id();
}

void CompressedShard::write_part(const StoredTensor& tensor, const Box& box, const Box& part,
                                 const void* data) {
  const hdf5::Session session;
  require(H5Dwrite(dataset_, hdf5::file_type(tensor.dtype), hdf5::dataspace(part.extent),
                   selected(box.extent, box.offset, part), H5P_DEFAULT, data),
          "cannot write {} to {}", tensor.name, temporary_.string());
}

// Sources may use HDF5 in other threads, so they are asked without its lock.
StoredPiece CompressedShard::add(const StoredTensor& tensor, const Box& box,
                                 const PieceSource& source, int64_t part_bytes) {
  StoredPiece piece{.dataset = tensor.name, .box = box, .compressed = true};
  {
    const hdf5::Session session;
    dataset_ = naming(temporary_, [&] {
      return hdf5::create_dataset(file_, tensor.name, hdf5::file_type(tensor.dtype),
                                  hdf5::dataspace(box.extent), chunked_creation(tensor, box));
    });
  }
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> sum(XXH3_createState(),
                                                                     XXH3_freeState);
  check(sum && XXH3_64bits_reset(sum.get()) == XXH_OK, "checkpoint", "no memory for xxh3");
  const int64_t row = row_bytes(box.extent, tensor.dtype);
  const int64_t rows = std::max<int64_t>(1, part_bytes / row);
  for (int64_t begin = 0; begin < box.extent[0]; begin += rows) {
    Box part = box;
    part.offset[0] += begin;
    part.extent[0] = std::min(rows, box.extent[0] - begin);
    const void* data = source(part);
    XXH3_64bits_update(sum.get(), data, static_cast<size_t>(part.extent[0] * row));
    write_part(tensor, box, part, data);
  }
  piece.checksum = XXH3_64bits_digest(sum.get());
  const hdf5::Session session;
  naming(temporary_, [&] {  // closing writes what lies in HDF5's cache
    hdf5::write_attribute(dataset_, "global_shape", tensor.shape);
    hdf5::write_attribute(dataset_, "offset", box.offset);
    hdf5::write_attribute(dataset_, "xxh3_64", piece.checksum);
    dataset_.close(tensor.name);
  });
  return piece;
}

StoredShard CompressedShard::finish() {
  {
    const hdf5::Session session;
    hdf5::sync_and_close(file_, temporary_);
  }
  const ReadableFile written(temporary_);
  StoredShard shard{rank_, written.bytes(), part_, checksum_outside(written, {})};
  publish_file(temporary_, final_name_);
  return shard;
}

}  // namespace switchyard
