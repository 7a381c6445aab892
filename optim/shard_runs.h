#pragma once

#include <cstdint>
#include <vector>

#include "optim/flat_buffers.h"
#include "parallel/mesh.h"

namespace switchyard {

// Elements next to each other both in a rank's shard and in the flat buffers.
struct ShardRun {
  int64_t flat_begin = 0;
  int64_t shard_begin = 0;
  int64_t elements = 0;
  Tensor in_flat(const Tensor& flat) const;    // of weights or gradients
  Tensor in_shard(const Tensor& shard) const;  // of [shard elements]
};

// A rank's shard in as few runs as may be, so that what walks over it makes few calls.
struct ShardRuns {
  std::vector<ShardRun> all;
  std::vector<ShardRun> decayed, plain;  // of parameters with weight decay and without
  std::vector<ShardRun> counted;         // of those that is_counted on this rank
};
ShardRuns shard_runs(const FlatBuffers& buffers, const Coordinates& place);

// Whether this rank is the one within tp and pp that stands for the parameter: its copy counts in
// the gradient's norm.
bool is_counted(const Parameter& parameter, const Coordinates& place);

// For each parameter whether this rank saves what it owns of it: of the ranks within tp that own
// the same, one. They share it evenly: none saves more elements than another that could, but for
// one of those parts.
std::vector<bool> saved_parameters(const FlatBuffers& buffers, const Coordinates& place, int tp);

}  // namespace switchyard
