#include "parallel/checkpoint/shared_files.h"

#include <map>

#include "core/error.h"
#include "core/json.h"
#include "core/text.h"

namespace switchyard {

namespace {

// Calls body(tensor, piece) for each piece in order.
template <class List, class Body>
void for_each_piece(List& list, const Body& body) {
  for (auto& entry : list.tensors) {
    for (auto& piece : entry.pieces) body(entry.tensor, piece);
  }
}

size_t count_pieces(const CheckpointIndex& list) {
  size_t count = 0;
  for_each_piece(list, [&](const StoredTensor&, const StoredPiece&) { ++count; });
  return count;
}

// "#3" of "/model/w#3"; 0 where it has none.
int number_in(const StoredTensor& tensor, const StoredPiece& piece) {
  if (piece.dataset.size() == tensor.name.size()) return 0;
  return parse_number<int>(std::string_view(piece.dataset).substr(tensor.name.size() + 1)).value();
}

Json places_of(const CheckpointIndex& list) {
  Json places = Json::array();
  for_each_piece(list, [&](const StoredTensor& tensor, const StoredPiece& piece) {
    places.push_back({piece.shard, number_in(tensor, piece), piece.address});
  });
  return places;
}

void check_count(size_t found, size_t expected, const char* what) {
  check(found == expected, "checkpoint", "{} {} came for {} pieces that a rank has listed", found,
        what, expected);
}

}  // namespace

void reserve_for_all(RankShards& files, std::vector<CheckpointIndex>& lists) {
  std::map<std::string, int> numbers;  // of each tensor's boxes
  for (CheckpointIndex& list : lists) {
    for_each_piece(list, [&](const StoredTensor& tensor, StoredPiece& piece) {
      piece = files.piece(files.reserve(tensor, numbers[tensor.name]++, piece.box, piece.checksum));
    });
  }
}

bool are_summed(const std::vector<CheckpointIndex>& lists) {
  bool all = true;
  for (const CheckpointIndex& list : lists) {
    for_each_piece(list, [&](const StoredTensor&, const StoredPiece& piece) {
      all = all && piece.checksum != 0;
    });
  }
  return all;
}

std::string places_to_text(const RankShards& files, const std::vector<CheckpointIndex>& lists) {
  Json text = {{"shards", Json::array()}, {"ranks", Json::array()}};
  for (const StoredShard& shard : files.shards())
    text["shards"].push_back({{"rank", shard.rank}, {"part", shard.part}});
  for (const CheckpointIndex& list : lists) text["ranks"].push_back(places_of(list));
  return json_text(text);
}

void take_places(const std::string& text, size_t rank, CheckpointIndex& list) {
  const Json all = parse_json(text);
  for (const Json& shard : all.at("shards")) {
    list.shards.push_back(
        {.rank = shard.at("rank").get<int>(), .part = shard.at("part").get<std::string>()});
  }
  const Json& places = all.at("ranks").at(rank);
  check_count(places.size(), count_pieces(list), "places");
  auto place = places.begin();
  for_each_piece(list, [&](const StoredTensor& tensor, StoredPiece& piece) {
    piece.shard = place->at(0).get<int>();
    piece.dataset = dataset_name(tensor.name, place->at(1).get<int>());
    piece.address = place->at(2).get<int64_t>();
    ++place;
  });
}

std::string checksums_to_text(const GuestFiles& files) {
  Json sums = Json::array();
  for (size_t i = 0; i < files.count(); ++i) sums.push_back(files.piece(i).checksum);
  return json_text(sums);
}

void note_checksums(RankShards& files, std::vector<CheckpointIndex>& lists,
                    const std::vector<std::string>& texts) {
  size_t place = 0;
  for (size_t rank = 0; rank < lists.size(); ++rank) {
    const size_t first = place;
    if (rank > 0) {
      const auto sums = parse_json(texts.at(rank)).get<std::vector<uint64_t>>();
      check_count(sums.size(), count_pieces(lists[rank]), "checksums");
      for (const uint64_t sum : sums) files.note_written(place++, sum);
    }
    place = first;
    for_each_piece(lists[rank],
                   [&](const StoredTensor&, StoredPiece& piece) { piece = files.piece(place++); });
  }
}

}  // namespace switchyard
