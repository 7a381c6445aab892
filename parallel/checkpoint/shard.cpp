#include "parallel/checkpoint/shard.h"

#include <hdf5.h>
#include <xxhash.h>

#include <algorithm>
#include <iterator>
#include <memory>

#include "parallel/checkpoint/files.h"
#include "parallel/checkpoint/state_groups.h"

namespace switchyard {

namespace {

using hdf5::Id;
using hdf5::require;

// For datasets that are written whole: no fill values, and no times, so equal contents give equal
// files.
Id plain_creation() {
  Id creation(require(H5Pcreate(H5P_DATASET_CREATE), "HDF5 gives no properties"), H5Pclose);
  require(H5Pset_fill_time(creation, H5D_FILL_TIME_NEVER), "HDF5 insists on fill values");
  require(H5Pset_obj_track_times(creation, false), "HDF5 insists on times");
  return creation;
}

// Rows [begin, begin + part.extent[0]) of a dataset of extent `whole`.
void write_rows(const Id& dataset, DType dtype, const Shape& whole, int64_t begin,
                const Shape& part, const void* data) {
  const Id in_file = hdf5::dataspace(whole), in_memory = hdf5::dataspace(part);
  hsize_t start[Shape::max_rank] = {}, count[Shape::max_rank] = {};
  start[0] = static_cast<hsize_t>(begin);
  for (int i = 0; i < part.rank(); ++i) count[i] = static_cast<hsize_t>(part[i]);
  require(H5Sselect_hyperslab(in_file, H5S_SELECT_SET, start, nullptr, count, nullptr),
          "HDF5 refuses the rows from {} on", begin);
  require(H5Dwrite(dataset, hdf5::file_type(dtype), in_memory, in_file, H5P_DEFAULT, data),
          "cannot write it");
}

int64_t address_of(const Id& dataset) {
  const haddr_t address = H5Dget_offset(dataset);
  check(address != HADDR_UNDEF, "checkpoint", "HDF5 gives a dataset no place in the file: {}",
        hdf5::last_error());
  return static_cast<int64_t>(address);
}

}  // namespace

ShardWriter::ShardWriter(const std::filesystem::path& folder, int rank, const CheckpointInfo& info,
                         const std::string& part)
    : final_name_(folder / shards_name / shard_name(rank, part)),
      temporary_(temporary_of(final_name_)),
      rank_(rank),
      part_(part) {
  const hdf5::Session session;
  file_ = hdf5::create_file(temporary_);
  links_ = hdf5::intermediate_groups();
  creation_ = plain_creation();
  hdf5::write_attribute(file_, "format_version", int64_t{info.format_version});
  hdf5::write_attribute(file_, "id", info.id);
  hdf5::write_attribute(file_, "step", info.step);
  hdf5::write_attribute(file_, "rank", int64_t{rank});
  if (!part.empty()) hdf5::write_attribute(file_, "part", part);
}

ShardWriter::~ShardWriter() {
  const hdf5::Session session;
  file_ = Id();
  links_ = Id();
  creation_ = Id();
}

uint64_t ShardWriter::write_parts(const Id& dataset, const StoredTensor& tensor, const Box& box,
                                  const Source& source, int64_t part_bytes) {
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(),
                                                                       XXH3_freeState);
  check(state && XXH3_64bits_reset(state.get()) == XXH_OK, "checkpoint", "no memory for xxh3");
  const int64_t row_bytes = box.extent.elements() / box.extent[0] * size_of(tensor.dtype);
  const int64_t rows = std::max<int64_t>(1, part_bytes / row_bytes);
  for (int64_t begin = 0; begin < box.extent[0]; begin += rows) {
    Box part = box;
    part.offset[0] += begin;
    part.extent[0] = std::min(rows, box.extent[0] - begin);
    const void* data = source(part);
    const int64_t bytes = part.extent[0] * row_bytes;
    XXH3_64bits_update(state.get(), data, static_cast<size_t>(bytes));
    write_rows(dataset, tensor.dtype, box.extent, begin, part.extent, data);
    written_ += bytes;
  }
  return XXH3_64bits_digest(state.get());
}

StoredPiece ShardWriter::add(const StoredTensor& tensor, int number, const Box& box,
                             const Source& source, int64_t part_bytes) try {
  const hdf5::Session session;
  StoredPiece piece;
  piece.dataset = number == 0 ? tensor.name : fmt::format("{}#{}", tensor.name, number);
  piece.box = box;
  Id dataset(require(H5Dcreate2(file_, piece.dataset.c_str(), hdf5::file_type(tensor.dtype),
                                hdf5::dataspace(box.extent), links_, creation_, H5P_DEFAULT),
                     "cannot create dataset {}", piece.dataset),
             H5Dclose);
  piece.checksum = write_parts(dataset, tensor, box, source, part_bytes);
  piece.address = address_of(dataset);
  hdf5::write_attribute(dataset, "global_shape", tensor.shape);
  hdf5::write_attribute(dataset, "offset", box.offset);
  hdf5::write_attribute(dataset, "xxh3_64", piece.checksum);
  dataset.close(piece.dataset);
  return piece;
} catch (const Error& error) {
  throw Error(
      fmt::format("{}, while writing {} to {}", error.what(), tensor.name, temporary_.string()),
      error.code());
}

StoredShard ShardWriter::finish() {
  const hdf5::Session session;
  hdf5::sync_and_close(file_, temporary_);
  const int64_t bytes = ReadableFile(temporary_).bytes();
  publish_file(temporary_, final_name_);
  return {rank_, bytes, part_};
}

StoredPiece RankShards::add(const StoredTensor& tensor, int number, const Box& box,
                            const ShardWriter::Source& source, int64_t part_bytes) {
  const std::string part = shard_part(tensor.name);
  auto file = std::ranges::find(files_, part, [](const auto& known) { return known.first; });
  if (file == files_.end()) {
    files_.emplace_back(part, std::make_unique<ShardWriter>(folder_, rank_, info_, part));
    file = std::prev(files_.end());
  }
  StoredPiece piece = file->second->add(tensor, number, box, source, part_bytes);
  piece.shard = static_cast<int>(file - files_.begin());
  return piece;
}

std::vector<StoredShard> RankShards::finish() {
  std::vector<StoredShard> shards;
  for (const auto& [part, file] : files_) shards.push_back(file->finish());
  return shards;
}

}  // namespace switchyard
