#pragma once

#include <cstdint>

#include "core/sharded_tensor.h"
#include "parallel/checkpoint/files.h"

namespace switchyard {

// What two boxes of one tensor have in common; empty() when nothing.
Box intersection(const Box& a, const Box& b);

// Elements of a box, row-major, contiguous from a byte of a file on.
struct BoxInFile {
  const ReadableFile* file = nullptr;
  int64_t address = 0;
  Box box;
};

// Reads what the stored box has in common with `wanted` into `out`, which holds `wanted` row-major.
// Returns the number of elements read.
int64_t read_common(const BoxInFile& stored, const Box& wanted, int64_t element_bytes, void* out);

}  // namespace switchyard
