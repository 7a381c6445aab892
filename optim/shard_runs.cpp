#include "optim/shard_runs.h"

#include <algorithm>
#include <functional>
#include <span>

namespace switchyard {

namespace {

// A segment joins the run of the one before it, gap included: there weights, gradients and moments
// are zero, and stay so.
std::vector<ShardRun> runs_where(const FlatBuffers& buffers,
                                 const std::function<bool(const Parameter&)>& chosen) {
  std::vector<ShardRun> runs;
  bool joins = false;
  for (const OwnedSegment& segment : buffers.owned()) {
    if (!chosen(buffers.parameters()[static_cast<size_t>(segment.parameter)])) {
      joins = false;
      continue;
    }
    const int64_t gap = segment.flat_begin - segment.shard_begin;
    if (joins && gap == runs.back().flat_begin - runs.back().shard_begin) {
      runs.back().elements = segment.flat_begin - runs.back().flat_begin + segment.elements;
    } else {
      runs.push_back({segment.flat_begin, segment.shard_begin, segment.elements});
    }
    joins = true;
  }
  return runs;
}

}  // namespace

Tensor ShardRun::in_flat(const Tensor& flat) const {
  return flat.slice(0, flat_begin, flat_begin + elements);
}

Tensor ShardRun::in_shard(const Tensor& shard) const {
  return shard.slice(0, shard_begin, shard_begin + elements);
}

ShardRuns shard_runs(const FlatBuffers& buffers, const Coordinates& place) {
  return {.all = runs_where(buffers, [](const Parameter&) { return true; }),
          .decayed = runs_where(buffers, [](const Parameter& p) { return p.decay; }),
          .plain = runs_where(buffers, [](const Parameter& p) { return !p.decay; }),
          .counted = runs_where(buffers, [&](const Parameter& p) { return is_counted(p, place); })};
}

bool is_counted(const Parameter& parameter, const Coordinates& place) {
  return parameter.stored && place.tp % parameter.replicas == 0;
}

// Large ones first, each to the rank that has the least so far; all ranks come to the same, as
// their shards are alike.
std::vector<bool> saved_parameters(const FlatBuffers& buffers, const Coordinates& place, int tp) {
  std::vector<OwnedSegment> owned = buffers.owned();
  std::ranges::stable_sort(owned, std::ranges::greater(), &OwnedSegment::elements);
  std::vector<bool> saved(buffers.parameters().size());
  std::vector<int64_t> shared(static_cast<size_t>(tp));  // elements, of each rank within tp
  for (const OwnedSegment& segment : owned) {
    const Parameter& parameter = buffers.parameters()[static_cast<size_t>(segment.parameter)];
    if (!parameter.stored) continue;
    for (int first = 0; first < tp; first += parameter.replicas) {
      const auto alike = std::span(shared).subspan(static_cast<size_t>(first),
                                                   static_cast<size_t>(parameter.replicas));
      const auto least = std::ranges::min_element(alike);
      if (parameter.replicas > 1) *least += segment.elements;
      if (first + (least - alike.begin()) == place.tp)
        saved[static_cast<size_t>(segment.parameter)] = true;
    }
  }
  return saved;
}

}  // namespace switchyard
