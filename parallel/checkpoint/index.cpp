#include "parallel/checkpoint/index.h"

#include <algorithm>
#include <map>

#include "core/error.h"
#include "core/json.h"
#include "core/text.h"
#include "parallel/checkpoint/list_elements.h"

namespace switchyard {

namespace {

Json json_of(const Shape& shape) {
  Json extents = Json::array();
  for (int i = 0; i < shape.rank(); ++i) extents.push_back(shape[i]);
  return extents;
}

Shape shape_from(const Json& extents) {
  const auto values = extents.get<std::vector<int64_t>>();
  return Shape(std::span<const int64_t>(values));
}

Json json_of(const StoredPiece& piece) {
  Json object;
  if (!piece.compressed) object["address"] = piece.address;
  object["dataset"] = piece.dataset;
  object["extent"] = json_of(piece.box.extent);
  if (piece.compressed) object["filters"] = "shuffle, deflate";
  object["offset"] = json_of(piece.box.offset);
  object["shard"] = piece.shard;
  object["xxh3_64"] = fmt::format("{:016x}", piece.checksum);
  return object;
}

uint64_t checksum_from(const std::string& digits) {
  const auto value = parse_hexadecimal(digits);
  check(digits.size() == 16 && value, "checkpoint",
        "the index gives the checksum \"{}\"; 16 hexadecimal digits are expected", digits);
  return *value;
}

// Which filters there are HDF5 knows.
StoredPiece piece_from(const Json& object) {
  const bool compressed = object.contains("filters");
  return {object.at("shard").get<int>(),
          object.at("dataset").get<std::string>(),
          Box{shape_from(object.at("offset")), shape_from(object.at("extent"))},
          compressed ? 0 : object.at("address").get<int64_t>(),
          checksum_from(object.at("xxh3_64").get<std::string>()),
          compressed};
}

// It becomes a part of a file's name.
std::string part_from(std::string part) {
  check(std::ranges::all_of(part, [](char c) { return c >= 'a' && c <= 'z'; }), "checkpoint",
        "the index names a shard's part \"{}\"; lowercase letters are expected", part);
  return part;
}

Json json_of(const IndexedTensor& entry) {
  Json pieces = Json::array();
  for (const StoredPiece& piece : entry.pieces) pieces.push_back(json_of(piece));
  return {{"aliases", entry.aliases},
          {"dtype", name_of(entry.tensor.dtype)},
          {"name", entry.tensor.name},
          {"pieces", std::move(pieces)},
          {"shape", json_of(entry.tensor.shape)}};
}

IndexedTensor tensor_from(const Json& object) {
  IndexedTensor entry{{object.at("name").get<std::string>(), shape_from(object.at("shape")),
                       dtype_named(object.at("dtype").get<std::string>())},
                      object.at("aliases").get<std::vector<std::string>>(),
                      {}};
  for (const Json& piece : object.at("pieces")) entry.pieces.push_back(piece_from(piece));
  return entry;
}

Json json_of(const StoredShard& shard) {
  Json object = {{"bytes", shard.bytes}, {"rank", shard.rank}};
  if (!shard.part.empty()) object["part"] = shard.part;
  if (shard.rest) object["rest_xxh3_64"] = fmt::format("{:016x}", *shard.rest);
  return object;
}

StoredShard shard_from(const Json& object) {
  StoredShard shard{object.at("rank").get<int>(), object.at("bytes").get<int64_t>(),
                    part_from(object.value("part", ""))};
  if (object.contains("rest_xxh3_64"))
    shard.rest = checksum_from(object.at("rest_xxh3_64").get<std::string>());
  return shard;
}

// Adds what one rank says of a tensor to what is known of it.
void merge_tensor(IndexedTensor& known, const IndexedTensor& more, int first_shard) {
  check(known.tensor.shape == more.tensor.shape && known.tensor.dtype == more.tensor.dtype,
        "checkpoint", "{} is {} of {} on one rank and {} of {} on another; it must be one tensor",
        known.tensor.name, known.tensor.shape.to_string(), name_of(known.tensor.dtype),
        more.tensor.shape.to_string(), name_of(more.tensor.dtype));
  check(known.aliases == more.aliases, "checkpoint",
        "{} has {} aliases on one rank and {} on another, or others; they must be the same",
        known.tensor.name, known.aliases.size(), more.aliases.size());
  for (StoredPiece piece : more.pieces) {
    piece.shard += first_shard;
    known.pieces.push_back(std::move(piece));
  }
}

}  // namespace

// Tensor by tensor: as JSON in memory all of them would take several times their text.
std::string to_json(const CheckpointIndex& index, bool sealed) {
  Json shards = Json::array();
  for (const StoredShard& shard : index.shards) shards.push_back(json_of(shard));
  std::string text = "{\"shards\":" + json_text(shards) + ",\"tensors\":[";
  for (const IndexedTensor& entry : index.tensors) {
    if (text.back() != '[') text += ',';
    text += json_text(json_of(entry));
  }
  return text + (sealed ? "],\"sealed\":true}" : "]}");
}

CheckpointIndex index_from_json(const std::string& text) try {
  CheckpointIndex index;
  const Json rest = take_list_elements(text, [&](const std::string& list, const Json& element) {
    if (list == "shards") index.shards.push_back(shard_from(element));
    if (list == "tensors") index.tensors.push_back(tensor_from(element));
  });
  for (const char* list : {"shards", "tensors"}) {
    const Json& left = rest.at(list);
    check(left.is_array() && left.empty(), "checkpoint",
          "the index of the checkpoint cannot be read: {} is no list of objects", list);
  }
  index.sealed = rest.value("sealed", false);
  return index;
} catch (const nlohmann::json::exception& error) {
  fail("checkpoint", "the index of the checkpoint cannot be read: {}", error.what());
}

CheckpointIndex merge(const std::vector<CheckpointIndex>& parts) {
  CheckpointIndex whole;
  std::map<std::string, IndexedTensor> by_name;
  for (const CheckpointIndex& part : parts) {
    const int first_shard = static_cast<int>(whole.shards.size());
    for (const IndexedTensor& entry : part.tensors) {
      const auto [at, is_new] =
          by_name.try_emplace(entry.tensor.name, IndexedTensor{entry.tensor, entry.aliases, {}});
      merge_tensor(at->second, entry, first_shard);
    }
    whole.shards.insert(whole.shards.end(), part.shards.begin(), part.shards.end());
  }
  for (auto& [name, entry] : by_name) whole.tensors.push_back(std::move(entry));
  return whole;
}

}  // namespace switchyard
