#include "parallel/checkpoint/shard.h"

#include <hdf5.h>

#include <algorithm>
#include <iterator>
#include <memory>
#include <span>

#include "parallel/checkpoint/files.h"
#include "parallel/checkpoint/state_groups.h"

namespace switchyard {

namespace {

using hdf5::Id;
using hdf5::require;

// For datasets that are written whole and not by HDF5: they have their place from the beginning on,
// no fill values, and no times, so equal contents give equal files.
Id plain_creation() {
  Id creation = hdf5::untimed(H5P_DATASET_CREATE);
  require(H5Pset_alloc_time(creation, H5D_ALLOC_TIME_EARLY), "HDF5 gives no places early");
  require(H5Pset_fill_time(creation, H5D_FILL_TIME_NEVER), "HDF5 insists on fill values");
  return creation;
}

int64_t address_of(const Id& dataset) {
  const haddr_t address = H5Dget_offset(dataset);
  check(address != HADDR_UNDEF, "checkpoint", "HDF5 gives a dataset no place in the file: {}",
        hdf5::last_error());
  return static_cast<int64_t>(address);
}

constexpr const char* checksum_name = "xxh3_64";  // the attribute

// Less room than this is not asked for by itself.
constexpr int64_t least_room = int64_t{1} << 20;

}  // namespace

ShardWriter::ShardWriter(const std::filesystem::path& folder, int rank, const CheckpointInfo& info,
                         WriteQueue& queue, const std::string& part)
    : final_name_(folder / shards_name / shard_name(rank, part)),
      temporary_(temporary_of(final_name_)),
      rank_(rank),
      part_(part),
      queue_(queue) {
  const hdf5::Session session;
  file_ = hdf5::create_file(temporary_, DirectFile::least_bytes, DirectFile::block_bytes());
  creation_ = plain_creation();
  hdf5::write_attribute(file_, "format_version", int64_t{info.format_version});
  hdf5::write_attribute(file_, "id", info.id);
  hdf5::write_attribute(file_, "step", info.step);
  hdf5::write_attribute(file_, "rank", int64_t{rank});
  if (!part.empty()) hdf5::write_attribute(file_, "part", part);
  const std::error_code problem = bytes_.open(temporary_, DirectFile::Begin::as_it_is);
  check(!problem, "checkpoint", "cannot open {}: {}", temporary_.string(), problem.message());
}

ShardWriter::~ShardWriter() {
  const hdf5::Session session;
  file_ = Id();
  creation_ = Id();
}

Id ShardWriter::create_dataset(const StoredTensor& tensor, const StoredPiece& piece) {
  Id dataset = hdf5::create_dataset(file_, piece.dataset, hdf5::file_type(tensor.dtype),
                                    hdf5::dataspace(piece.box.extent), creation_);
  hdf5::write_attribute(dataset, "global_shape", tensor.shape);
  hdf5::write_attribute(dataset, "offset", piece.box.offset);
  hdf5::write_attribute(dataset, checksum_name, piece.checksum);
  return dataset;
}

size_t ShardWriter::reserve(const StoredTensor& tensor, int number, const Box& box,
                            uint64_t checksum) {
  return while_writing(tensor.name, temporary_, [&] {
    const hdf5::Session session;
    Place place;
    StoredPiece& piece = place.piece;
    piece.dataset = dataset_name(tensor.name, number);
    piece.box = box;
    piece.checksum = place.told = checksum;
    place.row_bytes = box.extent.elements() / box.extent[0] * size_of(tensor.dtype);
    Id dataset = create_dataset(tensor, piece);
    piece.address = address_of(dataset);
    dataset.close(piece.dataset);
    end_ = std::max(end_, piece.address + box.extent[0] * place.row_bytes);
    places_.push_back(std::move(place));
    return places_.size() - 1;
  });
}

// For all places at once, where all were reserved first.
void ShardWriter::take_room() {
  if (end_ - room_end_ < least_room) return;
  const std::error_code problem = bytes_.take_room(room_end_, end_);
  check(!problem, "checkpoint", "cannot write {} bytes to {}: {}", end_ - room_end_,
        temporary_.string(), problem.message());
  room_end_ = end_;
}

void ShardWriter::write(size_t piece, const PieceSource& source, int64_t part_bytes) {
  write_to(piece, [&](const PiecePlace& place) {
    return write_by_parts(queue_, place, source, part_bytes);
  });
}

void ShardWriter::write_staying(size_t piece, const void* data) {
  write_to(piece,
           [&](const PiecePlace& place) { return switchyard::write_staying(queue_, place, data); });
}

void ShardWriter::write_to(size_t number, const std::function<uint64_t(const PiecePlace&)>& body) {
  Place& place = places_.at(number);
  StoredPiece& piece = place.piece;
  check(!place.written, "checkpoint", "{} was written twice", piece.dataset);
  take_room();
  piece.checksum = body({bytes_, piece, place.row_bytes});
  place.written = true;
}

void ShardWriter::note_written(size_t piece, uint64_t checksum) {
  Place& place = places_.at(piece);
  check(!place.written, "checkpoint", "{} was written twice", place.piece.dataset);
  place.piece.checksum = checksum;
  place.written = true;
}

std::vector<FileRange> ShardWriter::ranges() const {
  std::vector<FileRange> all;
  for (const Place& place : places_) {
    const int64_t begin = place.piece.address;
    all.push_back({begin, begin + place.piece.box.extent[0] * place.row_bytes});
  }
  return all;
}

void ShardWriter::check_written(const Place& place) const {
  check(place.written, "checkpoint", "{} was reserved in {} and never written", place.piece.dataset,
        temporary_.string());
}

void ShardWriter::end_hdf5() {
  const hdf5::Session session;
  for (const Place& place : places_) {
    if (place.told == 0) check_written(place);
    if (place.told == place.piece.checksum) continue;
    hdf5::set_attribute(file_, place.piece.dataset, checksum_name, place.piece.checksum);
  }
  hdf5::flush_and_close(file_, temporary_);
}

StoredShard ShardWriter::describe() {
  end_hdf5();
  const ReadableFile described(temporary_);
  return {rank_, described.bytes(), part_, checksum_outside(described, ranges())};
}

// One fsync brings HDF5's bytes and the pieces' to the disk. Ranks that are threads wait for it
// together, without HDF5, which is for one at a time.
void ShardWriter::finish() {
  std::ranges::for_each(places_, [&](const Place& place) { check_written(place); });
  const std::error_code problem = bytes_.sync_and_close();
  check(!problem, "checkpoint", "cannot write {} to the disk: {}", temporary_.string(),
        problem.message());
  publish_file(temporary_, final_name_);
}

size_t RankShards::reserve(const StoredTensor& tensor, int number, const Box& box,
                           uint64_t checksum) {
  const std::string part = shard_part(tensor.name);
  auto file = std::ranges::find(files_, part, [](const auto& known) { return known.first; });
  if (file == files_.end()) {
    files_.emplace_back(part, std::make_unique<ShardWriter>(folder_, rank_, info_, queue_, part));
    file = std::prev(files_.end());
  }
  const size_t place = file->second->reserve(tensor, number, box, checksum);
  pieces_.push_back({file->second.get(), place, file->second->piece(place)});
  pieces_.back().piece.shard = static_cast<int>(file - files_.begin());
  return pieces_.size() - 1;
}

void RankShards::take_room() {
  for (const auto& [part, file] : files_) file->take_room();
}

void RankShards::keep_checksum(Place& place) {
  place.piece.checksum = place.file->piece(place.number).checksum;
}

void RankShards::write(size_t piece, const PieceSource& source, int64_t part_bytes) {
  Place& place = pieces_.at(piece);
  place.file->write(place.number, source, part_bytes);
  keep_checksum(place);
}

void RankShards::note_written(size_t piece, uint64_t checksum) {
  Place& place = pieces_.at(piece);
  place.file->note_written(place.number, checksum);
  keep_checksum(place);
}

void RankShards::write_staying(size_t piece, const void* data) {
  Place& place = pieces_.at(piece);
  place.file->write_staying(place.number, data);
  keep_checksum(place);
}

const StoredPiece& RankShards::add(const StoredTensor& tensor, int number, const Box& box,
                                   const PieceSource& source, int64_t part_bytes) {
  const size_t place = reserve(tensor, number, box);
  write(place, source, part_bytes);
  return piece(place);
}

std::vector<StoredShard> RankShards::shards() const {
  std::vector<StoredShard> all;
  for (const auto& [part, file] : files_) all.push_back({rank_, 0, part});
  return all;
}

void RankShards::wait() {
  queue_.wait();
  queue_.free_buffers();
}

const std::vector<StoredShard>& RankShards::describe() {
  if (described_) return *described_;
  std::vector<StoredShard> all;
  for (const auto& [part, file] : files_) all.push_back(file->describe());
  return described_.emplace(std::move(all));
}

std::vector<StoredShard> RankShards::finish() {
  wait();
  std::vector<StoredShard> shards = describe();
  for (const auto& [part, file] : files_) file->finish();
  return shards;
}

}  // namespace switchyard
