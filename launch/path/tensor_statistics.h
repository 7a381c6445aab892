#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "launch/path/tensor_parts.h"
#include "parallel/checkpoint/checkpoint.h"

namespace switchyard {

// What the elements of a tensor, or of several, are like. Norm, min and max are of the finite ones.
struct TensorStatistics {
  int64_t elements = 0, nans = 0, infinities = 0;
  double squares = 0;  // sum over the finite elements
  double min = std::numeric_limits<double>::infinity();
  double max = -std::numeric_limits<double>::infinity();

  bool has_finite() const { return nans + infinities < elements; }  // min and max mean something
  double norm() const;                                              // L2
  void add(const TensorStatistics& more);
};

// Of dense elements in memory. Sums are formed in float64, in an order that the number of elements
// alone decides.
TensorStatistics statistics_of(DType dtype, const void* data, int64_t elements);

// Of the tensors of these names, in their order. Each is read once, part by part, by one of
// OpenMP's threads, which holds part_bytes; the numbers do not depend on their count. Checksums of
// all pieces are compared on the way: throws Error naming the file of a damaged one. `progress`
// hears of the bytes that were read, from one thread at a time.
std::vector<TensorStatistics> measure(const CheckpointReader& reader,
                                      const std::vector<std::string>& names,
                                      const std::function<void(int64_t bytes)>& progress = {},
                                      int64_t part_bytes = usual_part_bytes);

}  // namespace switchyard
