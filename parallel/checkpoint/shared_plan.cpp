#include "parallel/checkpoint/shared_plan.h"

#include <xxhash.h>

#include <algorithm>
#include <array>
#include <bit>
#include <map>
#include <utility>

#include "core/error.h"
#include "parallel/checkpoint/common_runs.h"
#include "parallel/checkpoint/direct_file.h"

namespace switchyard {

namespace {

// Less is read along with its neighbours (ReadWindow).
constexpr int64_t least_bytes = int64_t{64} << 10;

// Seven bits a byte, the lowest first: most numbers are small.
void put(std::string& bytes, uint64_t number) {
  for (; number >= 128; number >>= 7) bytes += static_cast<char>(number | 128);
  bytes += static_cast<char>(number);
}

void put(std::string& bytes, int64_t number) { put(bytes, static_cast<uint64_t>(number)); }

uint64_t take(std::string_view& bytes) {
  uint64_t number = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    check(!bytes.empty(), "checkpoint", "what ranks share ends too early");
    const auto byte = static_cast<uint8_t>(bytes.front());
    bytes.remove_prefix(1);
    number |= uint64_t{byte & 127u} << shift;
    if (byte < 128) break;
  }
  return number;
}

int64_t take_signed(std::string_view& bytes) { return static_cast<int64_t>(take(bytes)); }

void put(std::string& bytes, const Box& box) {
  put(bytes, int64_t{box.extent.rank()});
  for (int i = 0; i < box.extent.rank(); ++i) {
    put(bytes, box.offset[i]);
    put(bytes, box.extent[i]);
  }
}

Box take_box(std::string_view& bytes) {
  std::array<int64_t, Shape::max_rank> offset{}, extent{};
  const auto axes = static_cast<size_t>(take(bytes));
  check(axes <= offset.size(), "checkpoint", "ranks share a box of {} axes", axes);
  for (size_t i = 0; i < axes; ++i) {
    offset[i] = take_signed(bytes);
    extent[i] = take_signed(bytes);
  }
  return {Shape(std::span<const int64_t>(offset.data(), axes)),
          Shape(std::span<const int64_t>(extent.data(), axes))};
}

uint64_t fingerprint(const CheckpointIndex& index) {
  uint64_t sum = 0;
  for (const IndexedTensor& entry : index.tensors) {
    for (const StoredPiece& piece : entry.pieces) {
      const std::array<int64_t, 4> place{piece.shard, piece.address, std::ssize(entry.pieces),
                                         static_cast<int64_t>(piece.checksum)};
      sum = XXH3_64bits_withSeed(place.data(), sizeof(place), sum);
    }
  }
  return sum;
}

struct Want {
  int rank = 0;
  Box box;
};
using WantsOfTensors = std::map<size_t, std::vector<Want>>;

// False: the rank sees another index.
bool add_wants(std::string_view bytes, int rank, uint64_t expected, WantsOfTensors& all) {
  if (bytes.empty()) return true;
  if (take(bytes) != expected) return false;
  while (!bytes.empty()) {
    const size_t entry = take(bytes);
    all[entry].push_back({rank, take_box(bytes)});
  }
  return true;
}

struct Windows {
  std::vector<SharedWindow> list;
  std::map<std::pair<int, int64_t>, size_t> numbers;  // by shard and place in its file
};

// One piece's part in the plan.
class PieceWindows {
 public:
  PieceWindows(const StoredPiece& piece, int64_t bytes)
      : begin_(piece.address),
        end_(piece.address + bytes),
        first_(begin_ / window_bytes),
        wanted_(static_cast<size_t>((end_ - 1) / window_bytes - first_ + 1)) {}

  void add(int rank, const CommonRuns& runs) {
    if (runs.elements() == 0) return;
    const bool is_dense = runs.groups() == 1 && runs.even().file_stride <= window_bytes;
    const int64_t last = (begin_ + runs.end() - 1) / window_bytes;
    for (int64_t i = (begin_ + runs.begin()) / window_bytes; i <= last; ++i) {
      const int64_t from = i * window_bytes - begin_;
      if (is_dense || runs.touches(from, from + window_bytes))
        wanted_[static_cast<size_t>(i - first_)] |= uint64_t{1} << rank;
    }
  }
  bool is_worth_it() const {
    int64_t times = 0, windows = 0;
    for (const uint64_t wanted : wanted_) {
      times += std::popcount(wanted);
      windows += wanted == 0 ? 0 : 1;
    }
    return 2 * times >= 3 * windows && times > windows;
  }
  void add_to(Windows& all, int shard, int64_t file_bytes) const {
    for (size_t i = 0; i < wanted_.size(); ++i) {
      if (wanted_[i] == 0) continue;
      const int64_t number = first_ + static_cast<int64_t>(i), from = number * window_bytes;
      const int64_t block = DirectFile::block_bytes();
      const int64_t begin = std::max(from, begin_ / block * block);
      const int64_t end = std::min(from + window_bytes, DirectFile::blocks_up_to(end_));
      const auto [at, is_new] = all.numbers.try_emplace({shard, number}, all.list.size());
      if (is_new) all.list.push_back({shard, begin, 0, 0});
      SharedWindow& window = all.list[at->second];
      window.begin = std::min(window.begin, begin);
      window.end = std::max(window.end, std::min(end, file_bytes));
      window.wanted |= wanted_[i];
    }
  }

 private:
  int64_t begin_, end_;  // bytes of the file
  int64_t first_;        // window
  std::vector<uint64_t> wanted_;
};

}  // namespace

std::string SharedPlan::to_bytes() const {
  std::string bytes;
  put(bytes, uint64_t{pieces.size()});
  bytes.append(pieces.begin(), pieces.end());
  for (const SharedWindow& window : windows) {
    put(bytes, int64_t{window.shard});
    put(bytes, window.begin);
    put(bytes, window.end);
    put(bytes, window.wanted);
  }
  return bytes;
}

SharedPlan SharedPlan::from_bytes(std::string_view bytes) {
  SharedPlan plan;
  const size_t count = take(bytes);
  check(bytes.size() >= count, "checkpoint", "what ranks share ends too early");
  plan.pieces.assign(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(count));
  bytes.remove_prefix(count);
  while (!bytes.empty()) {
    SharedWindow window;
    window.shard = static_cast<int>(take(bytes));
    window.begin = take_signed(bytes);
    window.end = take_signed(bytes);
    window.wanted = take(bytes);
    plan.windows.push_back(window);
  }
  return plan;
}

std::string wants_of(const CheckpointIndex& index, std::span<const ReadJob> jobs) {
  std::string bytes;
  put(bytes, fingerprint(index));
  for (const ReadJob& job : jobs) {
    const int64_t entry = job.entry - index.tensors.data();
    for (const ShardedTensor* tensor : job.tensors) {
      for (const Piece& piece : tensor->pieces) {
        if (piece.box.empty()) continue;
        put(bytes, entry);
        put(bytes, piece.box);
      }
    }
  }
  return bytes;
}

SharedPlan plan_shared(const CheckpointIndex& index, std::span<const std::string> wants) {
  WantsOfTensors all;
  const uint64_t expected = fingerprint(index);
  for (size_t rank = 0; rank < wants.size(); ++rank) {
    if (!add_wants(wants[rank], static_cast<int>(rank), expected, all)) return {};
  }
  SharedPlan plan;
  Windows windows;
  std::vector<std::pair<const IndexedTensor*, size_t>> entries;  // and the first piece's number
  size_t pieces = 0;
  for (const IndexedTensor& entry : index.tensors) {
    if (all.contains(static_cast<size_t>(&entry - index.tensors.data())))
      entries.emplace_back(&entry, pieces);
    pieces += entry.pieces.size();
  }
  plan.pieces.resize(pieces);
  std::ranges::stable_sort(entries, {}, [](const auto& each) { return place_of(*each.first); });
  for (const auto& [entry, first] : entries) {
    const auto& wanted = all.at(static_cast<size_t>(entry - index.tensors.data()));
    for (size_t i = 0; i < entry->pieces.size(); ++i) {
      const StoredPiece& piece = entry->pieces[i];
      const int64_t bytes = bytes_of(*entry, piece);
      if (piece.compressed || bytes < least_bytes) continue;
      PieceWindows own(piece, bytes);
      for (const Want& want : wanted)
        own.add(want.rank, CommonRuns(piece.box, want.box, size_of(entry->tensor.dtype)));
      if (!own.is_worth_it()) continue;
      plan.pieces[first + i] = 1;
      own.add_to(windows, piece.shard, index.shards[static_cast<size_t>(piece.shard)].bytes);
    }
  }
  plan.windows = std::move(windows.list);
  return plan;
}

}  // namespace switchyard
