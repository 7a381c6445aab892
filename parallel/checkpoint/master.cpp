#include "parallel/checkpoint/master.h"

#include <hdf5.h>
#include <unistd.h>

#include <cmath>
#include <limits>

#include "parallel/checkpoint/files.h"
#include "parallel/checkpoint/hdf5_handles.h"
#include "parallel/checkpoint/newer_format.h"
#include "parallel/checkpoint/seal.h"

namespace switchyard {

namespace fs = std::filesystem;
using hdf5::Id;
using hdf5::require;

namespace {

constexpr const char* format_name = "switchyard-checkpoint";
// 1: a rank's moments lie in the file of its weights. 3: pieces are compressed.
static_assert(newest_format_version == compressed_version);

int64_t version_of(const CheckpointIndex& index) {
  for (const IndexedTensor& entry : index.tensors)
    for (const StoredPiece& piece : entry.pieces)
      if (piece.compressed) return compressed_version;
  return CheckpointInfo().format_version;
}

std::string source_file(const StoredShard& shard) {
  return fmt::format("{}/{}", shards_name, shard_name(shard.rank, shard.part));
}

// What HDF5 shows where a shard is missing: NaN, and for integers the value least likely to be one.
void set_fill_value(const Id& creation, DType dtype) {
  const auto set = [&](auto value) {
    require(H5Pset_fill_value(creation, hdf5::file_type(dtype), &value),
            "HDF5 refuses a fill value of {}", name_of(dtype));
  };
  switch (dtype) {
    case DType::f32:
      return set(std::numeric_limits<float>::quiet_NaN());
    case DType::f64:
      return set(std::numeric_limits<double>::quiet_NaN());
    case DType::bf16:
      return set(bf16(std::numeric_limits<float>::quiet_NaN()));
    case DType::f16:
      return set(f16(std::numeric_limits<float>::quiet_NaN()));
    case DType::i32:
      return set(std::numeric_limits<int32_t>::min());
    case DType::i64:
      return set(std::numeric_limits<int64_t>::min());
    case DType::u8:
      return set(std::numeric_limits<uint8_t>::max());
    case DType::u16:
      return set(std::numeric_limits<uint16_t>::max());
  }
}

void select(const Id& space, const Box& box) {
  hsize_t start[Shape::max_rank] = {}, count[Shape::max_rank] = {};
  for (int i = 0; i < box.extent.rank(); ++i) {
    start[i] = static_cast<hsize_t>(box.offset[i]);
    count[i] = static_cast<hsize_t>(box.extent[i]);
  }
  require(H5Sselect_hyperslab(space, H5S_SELECT_SET, start, nullptr, count, nullptr),
          "HDF5 refuses the box {} at {}", box.extent.to_string(), box.offset.to_string());
}

// Properties of the virtual dataset; a tensor without elements maps nothing and is a plain one.
Id mapping_of(const IndexedTensor& entry, const CheckpointIndex& index) {
  Id creation = hdf5::untimed(H5P_DATASET_CREATE);
  set_fill_value(creation, entry.tensor.dtype);
  const Id whole = hdf5::dataspace(entry.tensor.shape);
  for (const StoredPiece& piece : entry.pieces) {
    select(whole, piece.box);
    const std::string file = source_file(index.shards[static_cast<size_t>(piece.shard)]);
    require(H5Pset_virtual(creation, whole, file.c_str(), piece.dataset.c_str(),
                           hdf5::dataspace(piece.box.extent)),
            "cannot map {} to {} of {}", entry.tensor.name, piece.dataset, file);
  }
  return creation;
}

void write_dataset(const Id& file, const std::string& name, const StoredTensor& tensor,
                   const Id& creation) {
  Id dataset = hdf5::create_dataset(file, name, hdf5::file_type(tensor.dtype),
                                    hdf5::dataspace(tensor.shape), creation);
  hdf5::write_attribute(dataset, "dtype", std::string(name_of(tensor.dtype)));
  dataset.close(name);
}

void write_info(const Id& file, const CheckpointInfo& info) {
  hdf5::write_attribute(file, "format", std::string(format_name));
  hdf5::write_attribute(file, "format_version", int64_t{info.format_version});
  hdf5::write_attribute(file, "id", info.id);
  hdf5::write_attribute(file, "step", info.step);
  hdf5::write_attribute(file, "samples", info.samples);
  hdf5::write_attribute(file, "loss", info.loss);
  for (const auto& [name, text] : info.documents) {
    check_tensor_name("/" + name);
    check(name.find('/') == std::string::npos, "checkpoint",
          "a document is named \"{}\"; the names of documents have no '/'", name);
    hdf5::write_text(file, fmt::format("{}/{}", documents_group, name), text);
  }
}

CheckpointInfo read_info(const Id& file) {
  CheckpointInfo info;
  check_is_master(file);
  const int64_t version = hdf5::read_int_attribute(file, "format_version");
  const auto code = version > newest_format_version ? ExitCode::usage : ExitCode::storage;
  check(version >= 1 && version <= newest_format_version, code, "checkpoint",
        "it has format version {}; this program reads the versions 1 to {}", version,
        newest_format_version);
  info.format_version = static_cast<int>(version);
  info.id = hdf5::read_string_attribute(file, "id");
  info.step = hdf5::read_int_attribute(file, "step");
  info.samples = hdf5::read_int_attribute(file, "samples");
  info.loss = hdf5::read_double_attribute(file, "loss");
  if (H5Lexists(file, documents_group, H5P_DEFAULT) <= 0) return info;
  for (const std::string& name : hdf5::names_in(file, documents_group)) {
    info.documents[name] = hdf5::read_text(file, fmt::format("{}/{}", documents_group, name));
  }
  return info;
}

// The pieces must lie within their shards, so that reading needs no further checks.
void check_places(const CheckpointIndex& index) {
  for (const IndexedTensor& entry : index.tensors) {
    for (const StoredPiece& piece : entry.pieces) {
      const int64_t bytes = piece.box.extent.elements() * size_of(entry.tensor.dtype);
      const bool known = piece.shard >= 0 && std::cmp_less(piece.shard, index.shards.size());
      check(known && piece.address >= 0 &&
                (piece.compressed ? 0 : piece.address + bytes) <=
                    index.shards[static_cast<size_t>(piece.shard)].bytes,
            "checkpoint", "the index places {} outside its shard", piece.dataset);
    }
  }
}

// The text that HDF5 writes into memory of the length it names first.
template <class Get>
std::string text_from(Get get) {
  const auto length = require(get(nullptr, 0), "a mapping cannot be read");
  std::string text(static_cast<size_t>(length) + 1, '\0');
  require(get(text.data(), text.size()), "a mapping cannot be read");
  text.pop_back();
  return text;
}

bool maps(const Id& creation, size_t i, const StoredPiece& piece, const std::string& file) {
  const Id space(require(H5Pget_virtual_vspace(creation, i), "a mapping cannot be read"), H5Sclose);
  hsize_t first[Shape::max_rank] = {}, last[Shape::max_rank] = {};
  if (H5Sget_select_bounds(space, first, last) < 0) return false;
  for (int axis = 0; axis < piece.box.extent.rank(); ++axis) {
    const auto begin = static_cast<hsize_t>(piece.box.offset[axis]);
    const auto extent = static_cast<hsize_t>(piece.box.extent[axis]);
    if (first[axis] != begin || last[axis] + 1 != begin + extent) return false;
  }
  return H5Sget_select_npoints(space) == piece.box.extent.elements() &&
         piece.dataset == text_from([&](char* text, size_t size) {
           return H5Pget_virtual_dsetname(creation, i, text, size);
         }) &&
         file == text_from([&](char* text, size_t size) {
           return H5Pget_virtual_filename(creation, i, text, size);
         });
}

void verify_mapping(const Id& file, const std::string& name, const IndexedTensor& entry,
                    const CheckpointIndex& index) {
  const Id dataset = hdf5::open_dataset(file, name);
  const Id type(require(H5Dget_type(dataset), "dataset {} has no type", name), H5Tclose);
  bool same = hdf5::shape_of(dataset, name) == entry.tensor.shape &&
              H5Tequal(type, hdf5::file_type(entry.tensor.dtype)) > 0;
  const Id creation(require(H5Dget_create_plist(dataset), "dataset {} has no layout", name),
                    H5Pclose);
  size_t count = 0;
  if (!entry.pieces.empty()) {
    require(H5Pget_virtual_count(creation, &count), "dataset {} maps no shards", name);
  }
  same = same && count == entry.pieces.size();
  for (size_t i = 0; same && i < count; ++i) {
    const StoredPiece& piece = entry.pieces[i];
    same = maps(creation, i, piece, source_file(index.shards[static_cast<size_t>(piece.shard)]));
  }
  check(same, "checkpoint", "dataset {} does not map what the index lists", name);
}

}  // namespace

fs::path prepare_master(const fs::path& folder, const CheckpointInfo& info,
                        const CheckpointIndex& index) {
  check(info.format_version == version_of(index), "checkpoint",
        "format version {} was given; this program writes version {} of such files",
        info.format_version, version_of(index));
  check_index(index);
  fs::path temporary = temporary_of(folder / master_name);
  naming(temporary, [&] {
    const hdf5::Session session;
    Id file = hdf5::create_file(temporary);
    write_info(file, info);
    hdf5::write_text(file, index_dataset, to_json(index, true));
    for (const IndexedTensor& entry : index.tensors) {
      const Id creation = mapping_of(entry, index);
      write_dataset(file, entry.tensor.name, entry.tensor, creation);
      for (const auto& alias : entry.aliases) write_dataset(file, alias, entry.tensor, creation);
    }
    hdf5::sync_and_close(file, temporary);
  });
  seal_file(temporary);
  return temporary;
}

void publish_master(const fs::path& folder, const fs::path& prepared,
                    const std::function<void()>& may_write) {
  const fs::path path = folder / master_name;
  check(!fs::exists(path), "checkpoint",
        "{} was completed by somebody else meanwhile; it is left as it is", folder.string());
  if (may_write) may_write();
  try {
    publish_file(prepared, path);
  } catch (const Error&) {
    unlink(path.c_str());  // a save that is reported as failed has not happened
    throw;
  }
}

void write_master(const fs::path& folder, const CheckpointInfo& info, const CheckpointIndex& index,
                  const std::function<void()>& may_write) {
  publish_master(folder, prepare_master(folder, info, index), may_write);
}

void replace_master(const fs::path& folder, const CheckpointInfo& info,
                    const CheckpointIndex& index) {
  try {
    publish_file(prepare_master(folder, info, index), folder / master_name);
  } catch (const Error&) {
    std::error_code ignored;  // a full disk needs the room
    fs::remove(temporary_of(folder / master_name), ignored);
    throw;
  }
}

void check_is_master(const Id& file) {
  check(hdf5::read_string_attribute(file, "format") == format_name, "checkpoint",
        "attribute format is not {}", format_name);
}

std::pair<CheckpointInfo, CheckpointIndex> read_master(const fs::path& folder) {
  const fs::path path = folder / master_name;
  check(fs::exists(path), "checkpoint", "{} is missing: there is no complete checkpoint in {}",
        path.string(), folder.string());
  const ReadableFile readable(path);  // which HDF5 would wait for where it is a pipe
  return naming(path, [&] {
    CheckpointInfo info;
    const std::string text = [&] {  // is read alone by one thread, and understood by many at once
      const hdf5::Session session;
      const Id file = hdf5::open_file(path);
      info = read_info(file);
      return hdf5::read_text(file, index_dataset);
    }();
    CheckpointIndex index = index_from_json(text);
    check_index(index);
    check_places(index);
    if (index.sealed) check_seal(path);
    return std::pair(std::move(info), std::move(index));
  });
}

void verify_master(const fs::path& folder, const CheckpointIndex& index) {
  naming(folder / master_name, [&] {
    const hdf5::Session session;
    const Id file = hdf5::open_file(folder / master_name);
    for (const IndexedTensor& entry : index.tensors) {
      verify_mapping(file, entry.tensor.name, entry, index);
      for (const std::string& alias : entry.aliases) verify_mapping(file, alias, entry, index);
    }
  });
}

}  // namespace switchyard
