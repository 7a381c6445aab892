#include "optim/shard_runs.h"

#include <functional>

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

}  // namespace switchyard
