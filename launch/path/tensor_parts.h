#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "parallel/checkpoint/checkpoint.h"

namespace switchyard {

// A part of a tensor: a box whose elements follow each other in the tensor, row-major. `begin`:
// flat index of its first element.
using PartVisitor = std::function<void(const Box& part, int64_t begin, int64_t bytes)>;

// Visits a tensor's parts in the order of its elements, each of at most part_bytes, or a single
// element. Where a row is longer than that, it is cut, too.
void for_parts(const StoredTensor& tensor, int64_t part_bytes, const PartVisitor& visit);

inline constexpr int64_t usual_part_bytes = int64_t{16} << 20;

}  // namespace switchyard
