#pragma once

#include <cstddef>
#include <functional>

#include "core/sharded_tensor.h"
#include "model/exchange/weight_map.h"

// Elements along a weight map, as bytes of whatever dtype.
namespace switchyard {

// Rows [first, first + count) of ours, row-major, out of all of theirs.
void copy_from_theirs(const WeightMap& map, int64_t element_bytes, const std::byte* theirs,
                      int64_t first, int64_t count, std::byte* out);

// A box of one of our tensors, row-major, into memory that holds it densely.
using ReadOurs = std::function<void(const WeightMap& map, const Box& box, std::byte* out)>;

// Rows [first, first + count) of theirs, row-major, as far as the map has them: each of our boxes
// that it needs is read once. Beside `out` it holds as many bytes of a transposed tensor.
void copy_to_theirs(const WeightMap& map, int64_t element_bytes, const ReadOurs& read,
                    int64_t first, int64_t count, std::byte* out);

}  // namespace switchyard
