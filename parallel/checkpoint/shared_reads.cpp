#include "parallel/checkpoint/shared_reads.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/host_memory.h"
#include "parallel/checkpoint/common_runs.h"

namespace switchyard {

namespace {

constexpr size_t most_text = size_t{8} << 20;  // which all ways between ranks can carry

// The first rank's: what the others need to have the memory in common, and the plan. Empty: nothing
// is shared.
std::string invite(const CheckpointIndex& index, std::span<const std::string> wants,
                   std::optional<SharedPages>& pages) {
  const SharedPlan plan = plan_shared(index, wants);
  const int64_t bytes = SharedWindows::bytes_for(plan.windows.size());
  constexpr int64_t least_share = 8;  // of the machine's free memory
  if (plan.windows.empty() || free_host_bytes() / least_share < bytes) return {};
  pages = SharedPages::make(bytes);
  const std::string text = pages ? pages->invitation() + '\n' + plan.to_bytes() : std::string();
  return text.size() <= most_text ? text : std::string();
}

// Whatever stands in the way, `body` only leaves things as they were.
template <class Body>
void try_to(const Body& body) {
  try {
    body();
  } catch (const std::exception&) {
  }
}

}  // namespace

std::unique_ptr<SharedReads> SharedReads::join(ControlPlane& node, const CheckpointIndex& index,
                                               std::span<const ReadJob> jobs) {
  if (node.size() < 2 || node.size() > most_sharing) return nullptr;
  std::string text;
  std::optional<SharedPages> made;
  bool can = jobs.empty();
  try_to([&] {
    if (!jobs.empty()) text = wants_of(index, jobs);
    can = text.size() <= most_text;
  });
  if (!can) text.clear();
  const auto wants = node.gather(text, "what ranks of a machine read");
  text.clear();
  if (node.rank() == 0) try_to([&] { text = invite(index, wants, made); });
  text = node.broadcast(text, "what ranks of a machine share");
  if (text.empty()) return nullptr;
  std::unique_ptr<SharedReads> shared;
  try_to([&] {
    if (!can) return;
    const size_t end = text.find('\n');
    auto pages = SharedPages::join(text.substr(0, end));
    if (!pages) return;
    auto plan = SharedPlan::from_bytes(std::string_view(text).substr(end + 1));
    shared =
        std::make_unique<SharedReads>(std::move(plan), std::move(*pages), node.rank(), index, jobs);
  });
  const bool some_cannot = node.agree_and_ask([] {}, [&] { return !shared; });
  return some_cannot ? nullptr : std::move(shared);
}

SharedReads::SharedReads(SharedPlan plan, SharedPages pages, int rank, const CheckpointIndex& index,
                         std::span<const ReadJob> jobs)
    : plan_(std::move(plan)) {
  size_t number = 0;
  for (const IndexedTensor& entry : index.tensors) {
    for (const StoredPiece& piece : entry.pieces) {
      if (plan_.pieces.at(number++) != 0) pieces_.insert(&piece);
    }
  }
  for (const SharedWindow& window : plan_.windows)
    numbers_.emplace(std::pair(window.shard, window.begin / window_bytes), numbers_.size());
  windows_ =
      std::make_unique<SharedWindows>(std::move(pages), plan_.windows, rank, own_visits(jobs));
}

template <class Use>
void SharedReads::for_windows(const StoredPiece& piece, int64_t piece_bytes, const CommonRuns& runs,
                              const Use& use) const {
  if (runs.elements() == 0) return;
  const int64_t begin = piece.address, end = begin + piece_bytes;
  const int64_t last = (begin + runs.end() - 1) / window_bytes;
  for (int64_t place = (begin + runs.begin()) / window_bytes; place <= last; ++place) {
    const int64_t from = std::max(place * window_bytes, begin) - begin;
    const int64_t to = std::min((place + 1) * window_bytes, end) - begin;
    if (runs.touches(from, to)) use(numbers_.at({piece.shard, place}), from, to);
  }
}

std::vector<int32_t> SharedReads::own_visits(std::span<const ReadJob> jobs) const {
  std::vector<int32_t> visits(plan_.windows.size());
  for (const ReadJob& job : jobs) {
    for (const StoredPiece& stored : job.entry->pieces) {
      if (!has(stored)) continue;
      for (const ShardedTensor* tensor : job.tensors) {
        for (const Piece& piece : tensor->pieces) {
          const CommonRuns runs(stored.box, piece.box, size_of(job.entry->tensor.dtype));
          for_windows(stored, bytes_of(*job.entry, stored), runs,
                      [&](size_t window, int64_t, int64_t) { ++visits[window]; });
        }
      }
    }
  }
  return visits;
}

int64_t SharedReads::read(const StoredPiece& piece, int64_t element_bytes, const Box& wanted,
                          void* out, const Open& open, FileView& view, const Seen& seen) {
  const CommonRuns runs(piece.box, wanted, element_bytes);
  const auto look = [&](size_t number, ReadWay way) {
    const SharedWindow& window = plan_.windows[number];
    return view.at(*open(window.shard), window.begin, window.end, way);
  };
  const auto fill = [&](size_t number, std::byte* memory) {
    const SharedWindow& window = plan_.windows[number];
    std::memcpy(memory, look(number, ReadWay::direct),
                static_cast<size_t>(window.end - window.begin));
  };
  const int64_t bytes = piece.box.extent.elements() * element_bytes;
  for_windows(piece, bytes, runs, [&](size_t number, int64_t from, int64_t to) {
    const auto use = [&](const std::byte* memory) {
      const std::byte* const found = memory + (piece.address + from - plan_.windows[number].begin);
      if (seen) seen(from, found, to - from);
      runs.copy(from, to, found, out);
    };
    if (!windows_->visit(number, fill, use)) use(look(number, ReadWay::cached));
  });
  return runs.elements();
}

}  // namespace switchyard
